"""The JSON files of a checkpoint: read once, checked to be objects and to fit a schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from elasticnas.api_schemas.fields import is_whole, storable
from elasticnas.api_schemas.problems import InputError

Schema = TypeVar("Schema", bound=BaseModel)

_POINTER_START = b"version https://git-lfs"
"""How a file begins that Git LFS left in place of a large one."""


def read_object(
    file: Path, *, field: str, parse: Callable[[str], Any] = json.loads
) -> dict[str, Any]:
    """The JSON object in ``file``, as `read_json` reads it.

    Raises:
        InputError: as `read_json`, or it is not an object.
    """
    content = read_json(file, field=field, parse=parse)
    if not isinstance(content, dict):
        raise InputError("not a JSON object", field=field, value=type(content).__name__)
    return content


def read_json(file: Path, *, field: str, parse: Callable[[str], Any] = json.loads) -> Any:
    """The JSON in ``file``; ``field`` is how errors call the file.

    A byte order mark, as Windows writes it, is no part of the text; with one, UTF-16 is read too.

    Raises:
        InputError: there is no such file, it is not JSON, or a text in it holds half of a
            character.
    """
    refuse_pointer(file, field=field)
    try:
        content = parse(json_text(file))
    except FileNotFoundError as error:
        raise InputError("the checkpoint lacks this file", field=field) from error
    except RecursionError as error:
        raise InputError("not valid JSON: it is nested too deeply", field=field) from error
    except ValueError as error:
        raise InputError(f"not valid JSON: {error}", field=field) from error
    _refuse_halves(content, field)
    return content


def refuse_pointer(file: Path, *, field: str) -> None:
    """Refuse what Git LFS leaves in place of a large file until it is fetched.

    Raises:
        InputError: the file is such a pointer.
    """
    if not file.is_file():
        return
    with file.open("rb") as opened:
        start = opened.read(len(_POINTER_START))
    if start == _POINTER_START:
        raise InputError(
            "this is a pointer of Git LFS, not the file itself",
            field=field,
            remedy="run git lfs pull in the folder that it came from",
        )


def _refuse_halves(content: Any, field: str) -> None:
    """Refuse keys and values with half of a surrogate pair, which no result could carry."""
    rest: list[tuple[str, Any]] = [(field, content)]
    while rest:
        place, value = rest.pop()
        if isinstance(value, dict):
            for key in value:
                _refuse_half(key, place)
            rest += [(f"{place}/{key}", each) for key, each in value.items()]
        elif isinstance(value, list):
            rest += [(place, each) for each in value]
        elif isinstance(value, str):
            _refuse_half(value, place)


def _refuse_half(text: str, field: str) -> None:
    if not is_whole(text):
        raise InputError(
            "this text holds half of a surrogate pair, which is no character",
            field=field,
            value=storable(text),
            remedy="write the whole character, or leave it out",
        )


def json_text(file: Path) -> str:
    """The text of a JSON file, without its byte order mark.

    JSON is UTF-8, -16 or -32, and its first bytes tell which (RFC 4627, section 3).

    Raises:
        UnicodeDecodeError: it is none of them.
    """
    encoded = file.read_bytes()
    return encoded.decode(json.detect_encoding(encoded))


def validated(schema: type[Schema], content: Any, *, field: str) -> Schema:
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
