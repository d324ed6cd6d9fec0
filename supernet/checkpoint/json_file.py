"""The JSON files of a checkpoint: read once, checked to be objects and to fit a schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from api_schemas.problems import InputError

Schema = TypeVar("Schema", bound=BaseModel)


def read_object(
    file: Path, *, field: str, parse: Callable[[str], Any] = json.loads
) -> dict[str, Any]:
    """The JSON object in ``file``; ``field`` is how errors call the file.

    A byte order mark, as Windows writes it, is no part of the text; with one, UTF-16 is read too.

    Raises:
        InputError: there is no such file, it is not JSON, or not an object.
    """
    try:
        content = parse(json_text(file))
    except FileNotFoundError as error:
        raise InputError("the checkpoint lacks this file", field=field) from error
    except RecursionError as error:
        raise InputError("not valid JSON: it is nested too deeply", field=field) from error
    except ValueError as error:
        raise InputError(f"not valid JSON: {error}", field=field) from error
    if not isinstance(content, dict):
        raise InputError("not a JSON object", field=field, value=type(content).__name__)
    return content


def json_text(file: Path) -> str:
    """The text of a JSON file, without its byte order mark.

    JSON is UTF-8, -16 or -32, and its first bytes tell which (RFC 4627, section 3).

    Raises:
        UnicodeDecodeError: it is none of them.
    """
    encoded = file.read_bytes()
    return encoded.decode(json.detect_encoding(encoded))


def validated(schema: type[Schema], content: dict[str, Any], *, field: str) -> Schema:
    """``content`` as an instance of ``schema``.

    Raises:
        InputError: it does not fit; names the first member at fault and what was found there.
    """
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            first["msg"].removeprefix("Value error, "),
            field="/".join((field, *(str(part) for part in first["loc"]))),
            value=None if first["type"] == "missing" else first["input"],
        ) from error
