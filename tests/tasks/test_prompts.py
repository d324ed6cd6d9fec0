"""Prompts are filled with columns and run nothing; settings are checked before any work."""

from __future__ import annotations

from typing import Any

import pytest

from elasticnas.api_schemas.problems import InputError
from elasticnas.tasks import (
    GENERATION,
    MULTIPLE_CHOICE,
    PERPLEXITY_TASK,
    QUESTION_ANSWERING,
    TEXT_CLASSIFICATION,
    Task,
)
from elasticnas.tasks.perplexity import PerplexitySettings
from elasticnas.tasks.prompt import Prompt
from elasticnas.tasks.settings import PromptSettings, validated
from elasticnas.tasks.task import LabelsOfDataset, RowsOfDataset
from elasticnas.tasks.templates import PROMPT_TEMPLATES

ROW = {"question": "Why?", "a b": "because", "x.y": "dotted"}


def rows(*columns: str, has_choices: bool = True, names: tuple[str, ...] | None = None):
    labels = LabelsOfDataset(3, names, names_given=names is not None)
    return RowsOfDataset(columns or ("question",), labels, has_choices)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("Q: {question}\nA:", "Q: Why?\nA:"),
        ("{{{question}}}", "{Why?}"),
        ("{a b}{x.y}", "becausedotted"),
        ("no placeholder", "no placeholder"),
    ],
)
def test_a_prompt_is_filled_with_columns(text: str, filled: str):
    assert Prompt(text).fill(ROW) == filled


@pytest.mark.parametrize(
    "text", ["{question!r}", "{question:>99999999}", "{", "}", "{}", "{question:{x}}", "{ }"]
)
def test_a_placeholder_says_a_column_and_nothing_else(text: str):
    with pytest.raises(InputError) as caught:
        MULTIPLE_CHOICE.settle({"prompt": text}, rows())
    assert caught.value.field == "task_settings/prompt"


@pytest.mark.parametrize("text", ["{question.__class__}", "{question[0]}", "{0}", "{answer}"])
def test_what_is_no_column_is_named(text: str):
    with pytest.raises(InputError, match="no text column of this name") as caught:
        MULTIPLE_CHOICE.settle({"prompt": text}, rows())
    assert caught.value.field == "task_settings/prompt"
    assert caught.value.value == text


@pytest.mark.parametrize(
    ("task", "given", "of", "pointer"),
    [
        (TEXT_CLASSIFICATION, {"prompt": "x"}, rows(), "task_settings/prompt"),
        (PERPLEXITY_TASK, {"choices": ["a", "b"]}, rows(), "task_settings/choices"),
        (PERPLEXITY_TASK, {"window": 1}, rows(), "task_settings/window"),
        (MULTIPLE_CHOICE, {"prompt": "nul \0"}, rows(), "task_settings/prompt"),
        (MULTIPLE_CHOICE, {"prompt": 3}, rows(), "task_settings/prompt"),
        (MULTIPLE_CHOICE, {"prompt": "{question}" * 101}, rows(), "task_settings/prompt"),
        (
            MULTIPLE_CHOICE,
            {"examples": [{"row": {"question": "a" * 100_000}, "answer": "b"}] * 5},
            rows(),
            "task_settings",
        ),
        (MULTIPLE_CHOICE, {}, rows("a", "b"), "task_settings/prompt"),
        (MULTIPLE_CHOICE, {"template": "none such"}, rows(), "task_settings/template"),
        (MULTIPLE_CHOICE, {"add_bos": "perhaps"}, rows(), "task_settings/add_bos"),
        (MULTIPLE_CHOICE, {"choices": ["a", "b"]}, rows(), "task_settings/choices"),
        (MULTIPLE_CHOICE, {}, rows(has_choices=False), "task_settings/choices"),
        (
            MULTIPLE_CHOICE,
            {"choices": ["a", "b"]},
            rows(has_choices=False),
            "task_settings/choices",
        ),
        (MULTIPLE_CHOICE, {"continuation": "{question}"}, rows(), "task_settings/continuation"),
        (MULTIPLE_CHOICE, {"continuation": "{other}"}, rows(), "task_settings/continuation"),
        (
            MULTIPLE_CHOICE,
            {"examples": [{"row": {}, "answer": "b"}]},
            rows(),
            "task_settings/examples/0/row",
        ),
        (
            MULTIPLE_CHOICE,
            {"prompt": "{choice}", "examples": [{"row": {"question": "a"}, "answer": "b"}]},
            rows(),
            "task_settings/examples/0/row",
        ),
        (
            MULTIPLE_CHOICE,
            {"examples": [{"row": {"question": "a"}}]},
            rows(),
            "task_settings/examples/0/answer",
        ),
    ],
)
def test_what_is_wrong_with_settings_is_pointed_to(
    task: Task, given: dict[str, Any], of: RowsOfDataset, pointer: str
):
    with pytest.raises(InputError) as caught:
        task.settle(given, of)
    assert caught.value.field == pointer


def test_a_problem_within_a_setting_is_told_once():
    with pytest.raises(InputError) as caught:
        MULTIPLE_CHOICE.settle({"template": "none such"}, rows())
    assert str(caught.value).count("none such") == 1
    assert caught.value.remedy is not None


def test_a_window_longer_than_a_row_may_be_is_refused():
    with pytest.raises(InputError, match="raise max_length") as caught:
        PERPLEXITY_TASK.require_length(PerplexitySettings(window=66), 64)
    assert caught.value.field == "task_settings/window"


def test_the_only_column_is_the_prompt_where_none_is_given():
    assert MULTIPLE_CHOICE.settle({}, rows("a b")).said() == {"prompt": "{a b}"}


def test_names_of_labels_are_the_choices_where_rows_have_none():
    settled = MULTIPLE_CHOICE.settle({}, rows(has_choices=False, names=("no", "yes", "maybe")))
    assert settled.choices == ("no", "yes", "maybe")


def test_choices_in_another_order_than_the_labels_are_refused():
    """The right answers would be the wrong ones, and nobody would see it."""
    of = rows(has_choices=False, names=("maybe", "no", "yes"))
    renamed = {"choices": ["perhaps", "never", "always"]}
    assert MULTIPLE_CHOICE.settle(renamed, of).choices == ("perhaps", "never", "always")
    with pytest.raises(InputError, match="no is class 1") as caught:
        MULTIPLE_CHOICE.settle({"choices": ["maybe", "yes", "no"]}, of)
    assert caught.value.field == "task_settings/choices"


def test_an_example_says_its_own_choice_where_the_prompt_names_it():
    example = {"row": {"choice": "a dog"}, "answer": "barks"}
    settings = MULTIPLE_CHOICE.settle(
        {"prompt": "{choice}", "continuation": "{question}", "examples": [example]}, rows()
    )
    assert settings.context({"choice": "a cat"}) == "a dog barks\n\na cat"


def test_examples_stand_before_the_prompt_with_their_answers():
    settings = PromptSettings.model_validate(
        {
            "prompt": "Q: {question}\nA:",
            "examples": [
                {"row": {"question": "1+1?"}, "answer": "2"},
                {"row": {"question": "2+2?"}, "answer": "4"},
            ],
        }
    )
    assert settings.context(ROW) == "Q: 1+1?\nA: 2\n\nQ: 2+2?\nA: 4\n\nQ: Why?\nA:"


def test_a_published_template_stands_around_the_prompt_and_brings_its_own_delimiter():
    settings = PromptSettings(prompt="{question}", template="lonas-commonsense")
    template = PROMPT_TEMPLATES["lonas-commonsense"]
    assert settings.context(ROW) == template.around("Why?")
    assert settings.between == ""
    assert PromptSettings(prompt="{question}").between == " "
    assert PromptSettings(prompt="{question}", delimiter="").between == ""


@pytest.mark.parametrize(
    ("task", "given", "field"),
    [
        (GENERATION, {"beams": True}, "beams"),
        (GENERATION, {"max_new_tokens": "5"}, "max_new_tokens"),
        (PERPLEXITY_TASK, {"add_bos": 1}, "add_bos"),
        (PERPLEXITY_TASK, {"window": 8.0}, "window"),
        (QUESTION_ANSWERING, {"null_threshold": "0"}, "null_threshold"),
    ],
)
def test_a_setting_of_another_type_is_refused_and_not_made_to_fit(
    task: Task, given: dict[str, Any], field: str
):
    with pytest.raises(InputError) as caught:
        validated(task.settings_type, given)
    assert caught.value.field == f"task_settings/{field}"


def test_a_whole_number_is_a_number_and_a_list_is_a_tuple():
    said = validated(QUESTION_ANSWERING.settings_type, {"null_threshold": 1}).said()
    assert said == {"null_threshold": 1.0}
    assert validated(GENERATION.settings_type, {"stop": ["."]}).said() == {"stop": ["."]}
