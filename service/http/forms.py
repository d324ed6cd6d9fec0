"""Fields of multipart forms."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from api_schemas.fields import MAX_NAME, Name
from api_schemas.problems import InputError

NAMES: TypeAdapter[list[str]] = TypeAdapter(Annotated[list[Name], Field(min_length=1)])


def names_of(texts: Sequence[str], *, field: str) -> list[str]:
    """Several names in one form field, or in the same field given several times.

    One text is a JSON list (``["Yes, sure", "No"]``) or is split at its commas, where a name with
    a comma stands in double quotes (``"Yes, sure",No``). Of several texts each is a name.

    Raises:
        InputError: a name is empty or too long, or the JSON is no list of text.
    """
    names = [each.strip() for each in (texts if len(texts) > 1 else _split(texts[0], field))]
    for name in names:
        if not 1 <= len(name) <= MAX_NAME:
            raise InputError(
                f"a name has 1 to {MAX_NAME} characters",
                field=field,
                value=name[:MAX_NAME],
                remedy='separate names by single commas, or send a JSON list: ["a", "b"]',
            )
    return names


def _split(text: str, field: str) -> list[str]:
    if text.lstrip().startswith("["):
        return _json_list(text, field)
    try:
        rows = list(csv.reader([text], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise _unreadable(text, field) from error
    return rows[0] if rows else [""]


def _json_list(text: str, field: str) -> list[str]:
    try:
        return NAMES.validate_json(text, strict=True)
    except ValidationError as error:
        raise _unreadable(text, field) from error


def _unreadable(text: str, field: str) -> InputError:
    return InputError(
        "these are no names that can be told apart",
        field=field,
        value=text[:MAX_NAME],
        remedy='send a JSON list of text: ["a", "b"], or names separated by commas, those with '
        "commas or quotes in double quotes",
    )
