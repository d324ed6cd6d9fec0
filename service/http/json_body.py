"""JSON from strangers: UTF-8, of bounded depth, without duplicate keys."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json

from elasticnas.service.http.problems import ProblemError, refuse

LONE_SURROGATE = ("surrogate", "hex escape")
"""What the parser says of half a pair. The field's type refuses it too, and can name the field."""


def parse_json(body: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ProblemError: it is not JSON, not UTF-8, nested too deeply, has a number of thousands of
            digits, or has the same key twice.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _invalid(f"byte {error.start} is not UTF-8") from error
    try:
        from_json(text.encode())  # has a limit of depth, which Python's parser has not
    except ValueError as error:
        if not any(each in str(error) for each in LONE_SURROGATE):
            raise _invalid(str(error)) from error
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except RecursionError as error:
        raise _invalid("it is nested too deeply") from error
    except ValueError as error:
        raise _invalid(str(error)) from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Which of two values counts is for each parser to decide; so there must not be two."""
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise refuse("invalid-request", f"{key}: this key is in the JSON twice")
            seen.add(key)
    return found


def _invalid(why: str) -> ProblemError:
    return refuse("invalid-request", f"body: this is not JSON that can be read: {why}")
