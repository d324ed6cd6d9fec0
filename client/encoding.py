"""How the texts and numbers of a caller stand in a request."""

from __future__ import annotations

import json
import math
import re
from typing import Any
from urllib.parse import quote

from elasticnas.api_schemas.problems import InputError

_UNDECODED = re.compile("[\udc80-\udcff]+")
"""Bytes of an argument that the locale's encoding does not know, as Python carries them."""


def as_unicode(text: str) -> str:
    """A text of the command line as it was typed, under a locale that is not UTF-8 too."""
    return _UNDECODED.sub(
        lambda found: found[0].encode("ascii", "surrogateescape").decode("utf-8", "replace"), text
    )


def resource_path(*parts: object) -> str:
    """The path of a resource; what a user wrote for an id stays one segment of it."""
    segments = (quote(as_unicode(str(part)), safe="", errors="replace") for part in parts)
    return "/v1/" + "/".join(segments)


def json_body(content: Any, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """The options of a request with a JSON body.

    Raises:
        InputError: a number in it is infinite or none, for which JSON has no word.
    """
    return {
        "content": json_text(content).encode(),
        "headers": {"Content-Type": "application/json", **(headers or {})},
    }


def json_text(content: Any) -> str:
    """JSON in ASCII.

    Raises:
        InputError: a number in it is infinite or none, for which JSON has no word.
    """
    _demand_finite(content, "")
    return json.dumps(json.loads(as_unicode(json.dumps(content, ensure_ascii=False))))


def _demand_finite(content: Any, place: str) -> None:
    if isinstance(content, float) and not math.isfinite(content):
        raise InputError("this must be a finite number", field=place, value=content)
    if isinstance(content, dict | list):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in items:
            _demand_finite(value, f"{place}/{key}".removeprefix("/"))
