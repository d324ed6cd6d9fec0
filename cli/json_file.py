"""JSON of the command line: in files that options name, and in options themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from elasticnas.api_schemas.model_dicts import model_dict_of
from elasticnas.api_schemas.problems import InputError


def read_json(path: Path, *, field: str) -> Any:
    """The content of a file, which may begin with a byte order mark.

    Raises:
        InputError: about the option ``field``: it is not JSON, or not UTF-8.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise InputError(f"not valid JSON: {error}", field=field, value=path) from error


def read_model_dict(path: Path, *, field: str) -> dict[str, Any]:
    """A FlexiBERT ``modelDict``, out of a file of its own or a model's ``config.json``.

    Raises:
        InputError: about the option ``field``: it is no JSON object.
    """
    told = read_json(path, field=field)
    if not isinstance(told, dict):
        raise InputError("a modelDict is a JSON object", field=field, value=path)
    return model_dict_of(told)


def json_object(text: str, *, field: str) -> dict[str, Any]:
    """The value of an option that is a JSON object.

    Raises:
        InputError: about the option ``field``: it is none.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"this is not JSON: {error}", field=field) from error
    if not isinstance(value, dict):
        raise InputError("this is not a JSON object", field=field, value=text[:100])
    return value
