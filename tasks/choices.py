"""The choices of a dataset's rows, and which of them is the answer."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Sequence
from typing import Any

from elasticnas.api_schemas.fields import is_whole
from elasticnas.api_schemas.problems import InputError
from elasticnas.tasks.columns import Columns
from elasticnas.tasks.names import HALVED

Choices = list[list[str]]

_WHOLE_NUMBER = re.compile(r"-?(0|[1-9]\d{0,99})(\.0+)?", re.ASCII)
"""Of a hundred digits at most: a number of more is no place, and no float."""
_LIST = (
    'write a list of texts: ["one", "two"] in JSON Lines and CSV, list<string> in Parquet; or name '
    "a column of texts for each choice"
)


def read_choices(columns: Columns, names: Sequence[str]) -> tuple[Choices, list[list[str] | None]]:
    """The choices of each row, and what the file itself calls them where it does (A, B, ...).

    Of one column, whose values are lists of texts, or objects ``{"text": [...], "label": [...]}``
    as in ARC; or of several columns of texts, one for each choice.

    Raises:
        InputError: naming the column, the line or row, and the value at fault.
    """
    if len(names) > 1:
        of_each = [
            [_text(columns, name, i, v) for i, v in _values(columns, name)] for name in names
        ]
        return [list(row) for row in zip(*of_each, strict=True)], [None] * len(of_each[0])
    (name,) = names
    choices, labels = [], []
    for index, value in _values(columns, name):
        texts, called = _parsed(columns, name, index, value)
        choices.append([_text(columns, name, index, text) for text in texts])
        labels.append(called)
    return choices, labels


def read_answers(
    columns: Columns,
    name: str,
    choices: Choices,
    called: Sequence[Sequence[str] | None],
    first_label: int,
) -> list[int]:
    """The place of the right choice among each row's, from 0.

    A label is what the file calls the choice; or its number, counted from ``first_label``; or a
    letter, A for the first; or the text of the choice.

    Raises:
        InputError: a label is none of these, or could be two of them.
    """
    return [
        _answer(columns, name, index, value, choices[index], called[index], first_label)
        for index, value in _values(columns, name)
    ]


def _answer(
    columns: Columns,
    name: str,
    index: int,
    value: Any,
    choices: Sequence[str],
    called: Sequence[str] | None,
    first_label: int,
) -> int:
    def fault(what: str, remedy: str | None = None) -> InputError:
        return columns.fault(name, index, "label", what, remedy)

    if value is None or value == "" or isinstance(value, bool):
        raise fault("is missing" if not isinstance(value, bool) else "is none of the choices")
    label = value.strip() if isinstance(value, str) else value
    if called is not None:
        if str(label) not in called:
            raise fault(f"is none of {', '.join(called)}, as this row calls its choices")
        return list(called).index(str(label))
    place = _number(label, first_label)
    if isinstance(label, str) and choices.count(label) == 1:
        by_text = list(choices).index(label)
        if place is not None and place != by_text:
            raise fault(
                "could be the number of a choice or its text",
                "send the number of the choice as a number, not as text",
            )
        return by_text
    if place is None:
        raise fault("is neither the number, the letter nor the text of one of the row's choices")
    if not 0 <= place < len(choices):
        last = first_label + len(choices) - 1
        raise fault(
            f"is out of range: the {len(choices)} choices are {first_label} to {last}",
            "say first_label=1 if labels count from 1" if place == len(choices) else None,
        )
    return place


def _number(label: Any, first_label: int) -> int | None:
    """The place that a number or a letter says."""
    if isinstance(label, str):
        if len(label) == 1 and label in string.ascii_uppercase:
            return ord(label) - ord("A")
        return int(float(label)) - first_label if _WHOLE_NUMBER.fullmatch(label) else None
    if isinstance(label, int) or (isinstance(label, float) and label.is_integer()):
        return int(label) - first_label
    return None


def _parsed(
    columns: Columns, name: str, index: int, value: Any
) -> tuple[list[Any], list[str] | None]:
    """The list of one row, and the names in it."""
    if not columns.has_types and isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise columns.fault(name, index, "value", "is not a JSON array", _LIST) from error
    called = None
    if isinstance(value, dict) and set(value) == {"text", "label"}:
        value, called = value["text"], value["label"]
        if not isinstance(called, list) or not isinstance(value, list) or len(called) != len(value):
            raise columns.fault(name, index, "value", "has not as many labels as texts")
        called = [str(each) for each in called]
    if not isinstance(value, list):
        raise columns.fault(name, index, "value", "is not a list of choices", _LIST)
    if len(value) < 2:
        raise columns.fault(name, index, "value", "has fewer than two choices")
    return value, called


def _text(columns: Columns, name: str, index: int, text: Any) -> str:
    if not isinstance(text, str) or not text:
        raise columns.fault(name, index, "value", "has a choice that is not text, or empty", _LIST)
    if not is_whole(text):
        raise columns.fault(name, index, "value", HALVED)
    return text


def _values(columns: Columns, name: str) -> enumerate[Any]:
    return enumerate(columns.values[name])
