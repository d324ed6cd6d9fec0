"""The task of generation: its settings, prompts and labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elasticnas.api_schemas.problems import InputError
from elasticnas.tasks import GENERATION
from elasticnas.tasks.answers import Expression, LastNumber, WholeText
from elasticnas.tasks.columns import Columns
from elasticnas.tasks.contracts import TaskContract
from elasticnas.tasks.generation import GenerationSettings
from elasticnas.tasks.kinds import KINDS
from elasticnas.tasks.rows import Rows
from elasticnas.tasks.stored_rows import read_rows, write_rows
from elasticnas.tasks.task import ColumnsAsked, LabelsOfDataset, RowsOfDataset

DATASET = RowsOfDataset(("question", "hint"), LabelsOfDataset(0, None, names_given=False))
ROWS = Rows(
    {"question": ["How many?", "Which?"], "hint": ["two and two", "{red}"]},
    np.array(["4", "red"], dtype=object),
)


class TestContract(TaskContract):
    task = GENERATION
    settings = GenerationSettings(prompt="{question}", answer="number", stop=("\n",), beams=4)
    raw = np.array([f"so it is {row % 3}" for row in range(50)], dtype=object)
    labels = np.array([str(row % 2) for row in range(50)], dtype=object)


class Characters:
    """An encoder of one token for each character, and 1 before a text."""

    begins_with = 1

    def __call__(self, texts: Sequence[str], *, add_bos: bool | None) -> list[list[int]]:
        first = [] if add_bos is False else [1]
        return [[*first, *map(ord, text)] for text in texts]


def written(settings: GenerationSettings, max_length: int = 1000) -> list[str]:
    prompts = GENERATION.prompts(ROWS, settings, Characters(), max_length)
    return ["".join(map(chr, tokens)) for tokens in prompts]


def settled(**given: Any) -> GenerationSettings:
    settings = GENERATION.settle(given, DATASET)
    assert isinstance(settings, GenerationSettings)
    return settings


def test_a_text_follows_right_behind_its_prompt():
    example = {"row": {"question": "Who?"}, "answer": "me"}
    settings = settled(prompt="Q: {question}\nA:", examples=[example], add_bos=False)
    assert written(settings)[0] == "Q: Who?\nA: me\n\nQ: How many?\nA:"
    settings = settled(prompt="{question} {hint}", template="lonas-math")
    assert written(settings)[1].endswith(
        "### Instruction:\n" + " " * 28 + "Which? {red}\n\n"
        + " " * 28 + "### Response:\n" + " " * 28
    )  # fmt: skip


def test_of_a_long_prompt_the_end_is_kept_and_leaves_room_for_the_text():
    settings = settled(prompt="{question}", max_new_tokens=20)
    assert written(settings, 24) == ["any?", "ich?"]
    with pytest.raises(InputError, match="leave none for a prompt") as refused:
        written(settings, 20)
    assert refused.value.field == "task_settings/max_new_tokens"


def test_an_empty_prompt_begins_with_the_first_token():
    settings = settled(prompt="", add_bos=False, max_new_tokens=1)
    assert written(settings) == ["\x01", "\x01"]


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({}, WholeText()),
        ({"answer": "number"}, LastNumber()),
        ({"answer_expression": "#### (.*)"}, Expression("#### (.*)")),
    ],
)
def test_settings_say_how_an_answer_is_read(given, rule):
    found = settled(prompt="{question}", **given).rule
    assert type(found) is type(rule)
    assert vars(found) == vars(rule)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"answer": "nuber"}, "task_settings/answer"),
        ({"answer_expression": "("}, "task_settings/answer_expression"),
        ({"answer": "number", "answer_expression": "x"}, "task_settings"),
        ({"max_new_tokens": 0}, "task_settings/max_new_tokens"),
        ({"beams": 65}, "task_settings/beams"),
        ({"stop": [""]}, "task_settings/stop/0"),
        ({"beam_length": "long"}, "task_settings/beam_length"),
        ({"prompt": "{answer}"}, "task_settings/prompt"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(given, field):
    with pytest.raises(InputError) as refused:
        settled(**{"prompt": "{question}", **given})
    assert refused.value.field == field


def test_labels_are_texts_and_are_checked_by_the_rule():
    values = {"question": ["a", "b", "c"], "label": [18.0, True, "#### 7"]}
    columns = Columns(values, "line", [1, 2, 3])
    rows, names = GENERATION.read(columns, ColumnsAsked(("question",), "label"))
    assert rows.labels.tolist() == ["18.0", "true", "#### 7"]
    assert names is None
    assert GENERATION.labels(rows, settled(prompt="{question}")) is rows.labels
    with pytest.raises(InputError, match="no number"):
        GENERATION.labels(rows, settled(prompt="{question}", answer="number"))


def test_only_what_differs_from_the_defaults_is_kept():
    said = settled(prompt="{question}", beams=1, stop=["\n"]).said()
    assert json.loads(json.dumps(said)) == {"prompt": "{question}", "stop": ["\n"]}


def test_rows_with_texts_for_labels_are_stored_and_read_again(tmp_path: Path):
    write_rows(ROWS, tmp_path / "rows.parquet", keeps_columns=GENERATION.keeps_columns)
    read = read_rows(tmp_path / "rows.parquet")
    assert read.texts == ROWS.texts
    assert read.labels.tolist() == ROWS.labels.tolist()


def test_gsm8k_is_read_as_the_hub_has_it():
    kind = KINDS["gsm8k"]
    values = {"question": ["1 + 1?"], "answer": ["1 + 1 = <<1+1=2>>2\n#### 2"]}
    rows, _ = GENERATION.read(kind.derived(Columns(values, "line", [1])), kind.asked)
    known = RowsOfDataset(rows.columns, LabelsOfDataset(0, None, names_given=False))
    settings = GENERATION.settle(kind.settings, known)
    assert isinstance(settings, GenerationSettings)
    assert GENERATION.prompts(rows, settings, Characters(), 1000)
    raw = np.array(["It is 2."], dtype=object)
    assert GENERATION.outcomes(raw, rows.labels, settings)["is_right"].tolist() == [True]
