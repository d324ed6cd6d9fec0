"""The right answers of a dataset's rows, as SQuAD's files have them."""

from __future__ import annotations

import json
from typing import Any

from elasticnas.api_schemas.fields import is_whole
from elasticnas.tasks.columns import Columns
from elasticnas.tasks.names import HALVED

_FORMS = (
    'write {"text": ["one", "two"], "answer_start": [5, 40]} as SQuAD has it, or a list of texts; '
    "of a row without an answer the lists are empty"
)


def read_answers(columns: Columns, name: str) -> list[list[str]]:
    """The texts of each row's right answers; none of a row that has no answer.

    Where they start in the context is not needed to measure, for SQuAD compares texts.

    Raises:
        InputError: naming the column, the line or row, and the value at fault.
    """
    return [_texts(columns, name, index) for index in range(len(columns.values[name]))]


def _texts(columns: Columns, name: str, index: int) -> list[str]:
    value = _parsed(columns, name, index)
    if isinstance(value, dict):
        starts = value.get("answer_start")
        value = value.get("text")
        if isinstance(starts, list) and isinstance(value, list) and len(starts) != len(value):
            raise columns.fault(name, index, "value", "has not as many starts as texts", _FORMS)
    if not isinstance(value, list):
        raise columns.fault(name, index, "value", "holds no list of answers", _FORMS)
    texts: list[str] = []
    for each in value:
        text = each.get("text") if isinstance(each, dict) else each
        if not isinstance(text, str):
            raise columns.fault(name, index, "value", "has an answer that is not text", _FORMS)
        if not is_whole(text):
            raise columns.fault(name, index, "value", HALVED)
        texts.append(text)
    return texts


def _parsed(columns: Columns, name: str, index: int) -> Any:
    """The value of a row; in a file without types JSON says it."""
    value = columns.values[name][index]
    if columns.has_types or not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise columns.fault(name, index, "value", "is not JSON", _FORMS) from error
