"""Names of columns and classes: what they may hold, and how a form says several of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence

from elasticnas.api_schemas.fields import is_whole
from elasticnas.api_schemas.problems import InputError

LONGEST_NAME = 1000
"""Characters of a name; a label beyond this is a text."""
MOST_NAMES = 100_000
"""More are a mistake: a column of texts or ids that was taken for one of labels."""


def name_fault(name: str) -> str | None:
    """What is wrong with a name, as the end of a sentence; None when nothing is."""
    if len(name) > LONGEST_NAME:
        return f"has more than {LONGEST_NAME} characters: it is a text, not a name"
    if "\0" in name:
        return "holds a NUL character"
    return None if is_whole(name) else HALVED


HALVED = "holds half a character (a surrogate without the other)"


def names_given(values: Sequence[str], field: str) -> list[str]:
    """The names that a form field says: separated by commas, a JSON array, or a field for each.

    One that holds a comma stands in double quotes, or in an array.

    Raises:
        InputError: a name is empty, unfit, or there twice.
    """
    return require_names(_split(values[0], field) if len(values) == 1 else values, field)


def as_field(names: Sequence[str]) -> str:
    """Names as one form field says them."""
    if any(character in name for name in names for character in ',"['):
        return json.dumps(list(names), ensure_ascii=False)
    return ",".join(names)


def require_names(given: Sequence[str], field: str) -> list[str]:
    """Names without the spaces around them.

    Raises:
        InputError: a name is empty, unfit, or there twice.
    """
    names = [name.strip() for name in given] or [""]
    if len(names) > MOST_NAMES:
        raise InputError(f"more than {MOST_NAMES} names are given", field=field, value=len(names))
    seen: set[str] = set()
    for name in names:
        fault = name_fault(name) if name else "is empty"
        if name in seen:
            fault = "is there twice"
        if fault is not None:
            raise InputError(f"a name {fault}", field=field, value=repr(name)[:100])
        seen.add(name)
    return names


def _split(value: str, field: str) -> list[str]:
    if not value.strip().startswith("["):
        return _separated(value, field)
    try:
        names = json.loads(value)
    except (ValueError, RecursionError):
        if not value.strip().startswith('["'):
            return _separated(value, field)  # a name may begin with a bracket
        names = None
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise InputError(
            "this is not a JSON array of names",
            field=field,
            value=value[:100],
            remedy='write ["one", "two"], or separate the names by commas',
        )
    return names


def _separated(value: str, field: str) -> list[str]:
    """Names between commas; one that holds a comma stands in double quotes."""
    try:
        (names,) = csv.reader([value], skipinitialspace=True, strict=True)
    except (csv.Error, ValueError) as error:
        raise InputError(
            "these names cannot be told apart",
            field=field,
            value=value[:100],
            remedy='write a JSON array: ["one", "two"]',
        ) from error
    return names
