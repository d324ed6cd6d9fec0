"""From the values of a label column to classes or targets."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from elasticnas.api_schemas.problems import InputError
from elasticnas.tasks.columns import Columns
from elasticnas.tasks.names import MOST_NAMES, name_fault

LARGEST_CLASS = MOST_NAMES
"""A class beyond this is a mistake, not a class: an id column, or a large amount."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WHOLE_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.0+)?", re.ASCII)
_BOOLEANS = {
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("true", "True", "TRUE"), True),
}


def read_targets(columns: Columns, name: str) -> list[float]:
    """The numbers of a regression.

    Raises:
        InputError: a label is not a finite number.
    """
    targets = []
    for index, value in enumerate(columns.values[name]):
        number = None if isinstance(value, bool) else _number(value)
        if number is None or not math.isfinite(number):
            raise _fault(columns, name, index, "is not a finite number")
        targets.append(number)
    return targets


def read_classes(
    columns: Columns, name: str, label_names: Sequence[str] | None
) -> tuple[list[int], tuple[str, ...] | None]:
    """The class of each row, and the names of the classes if they have any.

    Whole numbers are classes, and so are ``false`` and ``true``: 0 and 1. Text is the name of a
    class: ``label_names[i]`` of class i. Where none are given, the names are sorted, which says
    nothing of the super-network's classes. ``nan``, ``inf``, ``1.5`` and ``007`` among other texts
    are names like them; a column of nothing but numbers is one of numbers. In a file without types,
    so is one of nothing but ``True`` and ``False``.

    Raises:
        InputError: a label is missing, or is none of these.
    """
    values = [v.strip() if isinstance(v, str) else v for v in columns.values[name]]
    if not columns.has_types and all(value in _BOOLEANS for value in values):
        values = [_BOOLEANS[value] for value in values]
    for index, value in enumerate(values):
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            raise _fault(columns, name, index, "is missing")
        if not isinstance(value, str | bool | int | float):
            raise _fault(columns, name, index, "is neither a class nor a name")
    if label_names is not None:
        names = tuple(label_names)
        return _named(columns, name, values, names), names
    if _are_names(columns, name, values):
        names = tuple(sorted(set(values)))
        if len(names) > MOST_NAMES:
            raise InputError(
                f"the column has more than {MOST_NAMES} different texts: these are no classes",
                field=name,
            )
        ids = {label: index for index, label in enumerate(names)}
        return [ids[value] for value in values], names
    _require_one_kind(columns, name, values)
    return [_class(columns, name, index, value) for index, value in enumerate(values)], None


def _are_names(columns: Columns, name: str, values: Sequence[Any]) -> bool:
    """Whether the labels are names; a text among classes is neither."""
    if not all(isinstance(value, str) for value in values):
        return False
    words = [index for index, value in enumerate(values) if not _NUMBER.fullmatch(value)]
    if not words:
        return False
    if any(_WHOLE_NUMBER.fullmatch(value) for value in values):
        raise _text_among_numbers(columns, name, words[0])
    for index, value in enumerate(values):
        if (fault := name_fault(value)) is not None:
            raise _fault(columns, name, index, fault)
    return True


def _require_one_kind(columns: Columns, name: str, values: Sequence[Any]) -> None:
    """``true`` and ``false`` stand for classes only where all labels are of them."""
    kinds = [isinstance(value, bool) for value in values]
    if any(kinds) and not all(kinds):
        raise _fault(columns, name, kinds.index(True), "is true or false where others are not")


def _named(columns: Columns, name: str, values: Sequence[Any], names: tuple[str, ...]) -> list[int]:
    """Classes by given names; numbers are classes only where no name could be meant by them."""
    ids = {label: index for index, label in enumerate(names)}
    numbers_are_names = any(_NUMBER.fullmatch(label) for label in names)
    classes = []
    for index, value in enumerate(values):
        spellings = _spellings(value)
        found = next((ids[text] for text in spellings if text in ids), None)
        if found is None:
            if numbers_are_names or isinstance(value, bool) or _number(value) is None:
                listed = ", ".join(names)[:500]
                raise _fault(columns, name, index, f"is none of the label names {listed}")
            found = _class(columns, name, index, value)
            if found >= len(names):
                raise _fault(columns, name, index, f"is beyond the {len(names)} label names")
        classes.append(found)
    return classes


def _spellings(value: Any) -> tuple[str, ...]:
    """How a label may be spelt among given names."""
    if isinstance(value, bool):
        return str(value).lower(), str(value), str(value).upper()
    if isinstance(value, float):
        return (str(int(value)),) if value.is_integer() else (str(value),)
    return (str(value),)


def _class(columns: Columns, name: str, index: int, value: Any) -> int:
    number = _number(value)
    if number is None:
        raise _text_among_numbers(columns, name, index)
    if number > LARGEST_CLASS:
        raise _fault(columns, name, index, f"is larger than {LARGEST_CLASS}")
    if not number.is_integer():
        raise _fault(columns, name, index, "is not a whole number")
    if number < 0:
        raise _fault(
            columns,
            name,
            index,
            "is negative",
            "classes count from 0; test sets are often published with -1 for hidden labels",
        )
    return int(number)


def _number(value: Any) -> float | None:
    """``value`` as a number, infinite where it is beyond all floats; None when it is not one."""
    if isinstance(value, str):
        text = value.strip()
        return float(text) if _NUMBER.fullmatch(text) else None
    if not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _text_among_numbers(columns: Columns, name: str, index: int) -> InputError:
    return _fault(
        columns,
        name,
        index,
        "is text where others are numbers",
        "correct it; or, if the numbers are names too, give label_names",
    )


def _fault(
    columns: Columns, name: str, index: int, what: str, remedy: str | None = None
) -> InputError:
    return columns.fault(name, index, "label", what, remedy)
