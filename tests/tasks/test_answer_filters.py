"""Answers are read and compared as lm-eval's filters and its exact match do."""

from __future__ import annotations

from typing import Any

import pytest

from elasticnas.api_schemas.problems import InputError
from elasticnas.tasks import GENERATION
from elasticnas.tasks.generation import GenerationSettings
from elasticnas.tasks.task import LabelsOfDataset, RowsOfDataset

DATASET = RowsOfDataset(("question",), LabelsOfDataset(0, None, names_given=False))
GSM8K = {"regexes_to_ignore": [",", "\\$", "(?s).*#### ", "\\.$"], "ignore_case": True}
FLEXIBLE = {"regex_pattern": r"(-?[$0-9.,]{2,})|(-?[0-9]+)", "group_select": -1}
STRICT = {"regex_pattern": r"#### (\-?[0-9\.\,]+)"}


def settled(**given: Any) -> GenerationSettings:
    settings = GENERATION.settle(given, DATASET)
    assert isinstance(settings, GenerationSettings)
    return settings


@pytest.mark.parametrize(
    ("settings", "text", "label", "is_right"),
    [
        ({"answer_filters": []}, "a", "a", True),
        ({"answer_filters": []}, " a", "a", False),
        ({"answer_filters": ["remove_whitespace"]}, " a\n", "a", True),
        ({"answer_filters": ["lowercase"]}, "Yes", "yes", True),
        ({"answer_filters": [STRICT], "ignored": GSM8K}, "#### 1,018.", "x #### 1018", True),
        ({"answer_filters": [STRICT], "ignored": GSM8K}, "it is 18", "#### 18", False),
        ({"answer_filters": [FLEXIBLE], "ignored": GSM8K}, "4 and $18.", "#### 18", True),
        ({"answer_filters": [FLEXIBLE], "ignored": GSM8K}, "18 and 4", "#### 18", False),
        ({"answer_filters": [STRICT]}, "none", "[invalid]", True),
        ({"answer_filters": [], "ignored": {"ignore_punctuation": True}}, "a.b!", "ab", True),
        ({"answer_filters": [], "ignored": {"ignore_numbers": True}}, "a1", "a2", True),
        ({"answer_filters": [], "any_of": True}, "two", '["one", "two"]', True),
        ({"answer_filters": [], "any_of": True}, "three", '["one", "two"]', False),
    ],
)
def test_an_answer_is_what_the_filters_leave(
    settings: dict[str, Any], text: str, label: str, is_right: bool
) -> None:
    assert settled(**settings).rule.is_right(text, label) is is_right


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"answer": "number", "answer_filters": []}, "say one of"),
        ({"any_of": True}, "go with answer_filters"),
        ({"ignored": {"ignore_case": True}}, "go with answer_filters"),
        ({"answer_filters": [{"regex_pattern": "("}]}, "no regular expression"),
    ],
)
def test_what_does_not_fit_together_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        settled(**given)
    assert str(caught.value.field).startswith("task_settings")


def test_a_label_that_is_no_list_is_refused_where_each_is_right() -> None:
    rule = settled(answer_filters=[], any_of=True).rule
    with pytest.raises(InputError, match="no JSON array"):
        rule.check("one")
