"""Choices and answers of a file, as public data comes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from elasticnas.api_schemas.problems import InputError
from elasticnas.tasks import MULTIPLE_CHOICE
from elasticnas.tasks.columns import Columns
from elasticnas.tasks.items import Scored, encode_pairs, windows
from elasticnas.tasks.kinds import KINDS
from elasticnas.tasks.multiple_choice import MultipleChoiceSettings
from elasticnas.tasks.rows import Rows
from elasticnas.tasks.task import ColumnsAsked

TEXTS = ["up", "down", "left"]


def answer(label: Any, choices: Any = None, *, first: int = 0, typed: bool = True) -> int:
    values = {"q": ["which"], "c": [TEXTS if choices is None else choices], "a": [label]}
    columns = Columns(values, "line", [7], has_types=typed)
    asked = ColumnsAsked(("q",), "a", choices=("c",), first_label=first)
    rows, _ = MULTIPLE_CHOICE.read(columns, asked)
    return int(rows.labels[0])


@pytest.mark.parametrize(
    ("label", "first", "place"),
    [
        (0, 0, 0), (2, 0, 2), (1.0, 0, 1), ("1", 0, 1), ("1", 1, 0), (3, 1, 2),
        ("A", 0, 0), ("C", 1, 2), ("down", 0, 1), (" left ", 0, 2),
    ],
)  # fmt: skip
def test_an_answer_is_a_number_a_letter_or_the_text(label: Any, first: int, place: int):
    assert answer(label, first=first) == place


def test_an_answer_is_what_the_row_calls_its_choices():
    """ARC calls most of them A to D, and some 1 to 4."""
    assert answer("B", {"text": TEXTS, "label": ["A", "B", "C"]}) == 1
    assert answer("1", {"text": TEXTS, "label": ["1", "2", "3"]}) == 0
    with pytest.raises(InputError, match="none of 1, 2, 3"):
        answer("A", {"text": TEXTS, "label": ["1", "2", "3"]})


@pytest.mark.parametrize(
    "label",
    [3, -1, "D", "sideways", "", None, True, 0.5, [0], "a", 10**400, "9" * 400, float("nan")],
)
def test_an_answer_that_is_no_choice_is_named_with_its_line(label: Any):
    with pytest.raises(InputError, match="line 7") as caught:
        answer(label)
    assert caught.value.field == "a"


def test_a_number_as_text_that_could_be_two_choices_is_refused():
    assert answer(1, ["1", "2", "3"]) == 1
    with pytest.raises(InputError, match="number of a choice or its text"):
        answer("1", ["1", "2", "3"])
    assert answer("2", ["0", "1", "2"]) == 2


@pytest.mark.parametrize(
    "choices",
    ["up", ["up"], [], None, ["up", ""], ["up", 3], {"text": TEXTS}, ["up", "\ud83d"]],
)
def test_choices_are_two_texts_at_least(choices: Any):
    values = {"q": ["which"], "c": [choices], "a": [0]}
    asked = ColumnsAsked(("q",), "a", choices=("c",))
    with pytest.raises(InputError, match="line 3") as caught:
        MULTIPLE_CHOICE.read(Columns(values, "line", [3]), asked)
    assert caught.value.field == "c"


def test_a_column_is_not_called_as_the_placeholder_of_choices():
    values = {"choice": ["which"], "c": [TEXTS], "a": [0]}
    with pytest.raises(InputError, match="another name") as caught:
        MULTIPLE_CHOICE.read(Columns(values, "row"), ColumnsAsked(("choice",), "a", choices=("c",)))
    assert caught.value.field == "text_columns"


def test_a_file_without_types_has_a_json_array():
    assert answer("down", json.dumps(TEXTS), typed=False) == 1
    with pytest.raises(InputError, match="not a JSON array"):
        answer("down", "up, down", typed=False)


def test_choices_may_be_a_column_each_and_rows_may_have_different_numbers():
    values: dict[str, list[Any]] = {"q": ["x", "y"], "c": [TEXTS, TEXTS[:2]], "a": [2, 1]}
    asked = ColumnsAsked(("q",), "a", choices=("c",))
    rows, _ = MULTIPLE_CHOICE.read(Columns(values, "row"), asked)
    assert [len(each) for each in rows.choices or ()] == [3, 2]
    assert MULTIPLE_CHOICE.num_labels(rows) == 3
    values = {"q": ["x"], "one": ["no"], "two": ["yes"], "a": ["two words"]}
    asked = ColumnsAsked(("q",), "a", choices=("one", "two"))
    with pytest.raises(InputError, match="neither the number"):
        MULTIPLE_CHOICE.read(Columns(values, "row"), asked)


RAW: dict[str, dict[str, Any]] = {
    "arc_easy": {
        "question": "Which?",
        "choices": {"text": TEXTS, "label": ["1", "2", "3"]},
        "answerKey": "3",
    },
    "arc_challenge": {
        "question": "Which?",
        "choices": {"text": TEXTS, "label": ["A", "B", "C"]},
        "answerKey": "A",
    },
    "boolq": {"passage": "It is.", "question": "is it", "label": 1},
    "hellaswag": {
        "activity_label": "Baking",
        "ctx_a": "A man [title] bakes.",
        "ctx_b": "he",
        "endings": ["eats [step] it.", "sings.", "leaves.", "sleeps."],
        "label": "1",
    },
    "openbookqa": {
        "question_stem": "The sun is",
        "choices": {"text": ["hot", "cold"], "label": ["A", "B"]},
        "answerKey": "A",
    },
    "piqa": {"goal": "Open it", "sol1": "Push.", "sol2": "Pull.", "label": 0},
    "winogrande": {
        "sentence": "Ann saw Eve because _ was late .",
        "option1": "Ann",
        "option2": "Eve",
        "answer": "2",
    },
}
PROMPTED: dict[str, list[tuple[str, str]]] = {
    "arc_easy": [("Question: Which?\nAnswer:", f" {each}") for each in TEXTS],
    "arc_challenge": [("Question: Which?\nAnswer:", f" {each}") for each in TEXTS],
    "boolq": [("It is.\nQuestion: is it?\nAnswer:", f" {each}") for each in ("no", "yes")],
    "hellaswag": [
        ("Baking: A man. bakes. He", f" {each}")
        for each in ("eats it.", "sings.", "leaves.", "sleeps.")
    ],
    "openbookqa": [("The sun is", " hot"), ("The sun is", " cold")],
    "piqa": [("Question: Open it\nAnswer:", " Push."), ("Question: Open it\nAnswer:", " Pull.")],
    "winogrande": [(f"Ann saw Eve because {each}", " was late .") for each in ("Ann", "Eve")],
}
ANSWERS = {
    "arc_easy": 2, "arc_challenge": 0, "boolq": 1, "hellaswag": 1, "openbookqa": 0, "piqa": 0,
    "winogrande": 1,
}  # fmt: skip


class Letters:
    """A tokenizer of which a token is a character, and which remembers what it was given."""

    begins_with = 1

    def __init__(self) -> None:
        self.wholes: list[str] = []

    def __call__(self, texts: Any, *, add_bos: bool | None) -> list[list[int]]:
        self.wholes = list(texts)
        return [[1] * (add_bos is not False) + [ord(letter) for letter in text] for text in texts]


@pytest.mark.parametrize("name", [n for n in KINDS if KINDS[n].task == MULTIPLE_CHOICE.name])
def test_public_data_is_read_as_it_comes_and_prompted_as_lm_eval_does(name: str):
    kind, raw = KINDS[name], RAW[name]
    columns = kind.derived(Columns({key: [raw[key]] for key in kind.columns}, "line", [1]))
    rows, names = MULTIPLE_CHOICE.read(columns, kind.asked)
    assert names is None
    assert rows.labels.tolist() == [ANSWERS[name]]
    settings = MultipleChoiceSettings.model_validate(kind.settings)
    encoder = Letters()
    ((item,),) = (MULTIPLE_CHOICE.items(rows, settings, encoder, 200),)
    assert encoder.wholes == [context + rest for context, rest in PROMPTED[name]]
    assert [each.count for each in item] == [len(rest) for _, rest in PROMPTED[name]]


def test_white_space_behind_a_context_belongs_to_the_continuation():
    """As lm-eval has it."""
    (scored,) = encode_pairs([("a: ", "b")], Letters(), add_bos=None, max_length=9)
    assert scored == Scored((1, ord("a"), ord(":"), ord(" "), ord("b")), first=3)


def test_an_empty_context_begins_with_the_first_token():
    (scored,) = encode_pairs([("", "b")], Letters(), add_bos=False, max_length=9)
    assert scored == Scored((1, ord("b")), first=1)


def test_a_continuation_is_never_cut():
    with pytest.raises(InputError, match="never cut") as caught:
        encode_pairs([("a", "bcd")], Letters(), add_bos=None, max_length=2)
    assert caught.value.field == "max_length"
    (scored,) = encode_pairs([("abc", "xyz")], Letters(), add_bos=None, max_length=3)
    assert scored == Scored((ord("c"), *map(ord, "xyz")), first=1)


def test_windows_score_every_token_once_behind_their_first():
    assert windows([5, 6, 7], [1], 2) == (Scored((1, 5, 6), 1), Scored((1, 7), 1))
    assert windows([5, 6, 7], [], 2) == (Scored((5, 6), 1),)


def test_a_choice_counts_by_its_sum_and_by_its_characters():
    rows = Rows({"q": ["x"]}, np.array([1]), [["a", "a long one"]])
    labels = MULTIPLE_CHOICE.labels(rows, MultipleChoiceSettings(prompt="{q}"))
    settings = MultipleChoiceSettings(prompt="{q}")
    outcomes = MULTIPLE_CHOICE.outcomes(np.array([[-2.0, -3.0]]), labels, settings)
    measured = MULTIPLE_CHOICE.measure(outcomes)
    assert measured == {"acc": 0.0, "acc_norm": 1.0, "mean_log_likelihood": -3.0}


def test_what_is_no_number_is_no_answer():
    rows = Rows({"q": ["x"]}, np.array([1]), [["a", "b"]])
    settings = MultipleChoiceSettings(prompt="{q}")
    labels = MULTIPLE_CHOICE.labels(rows, settings)
    with pytest.raises(ArithmeticError):
        MULTIPLE_CHOICE.outcomes(np.array([[np.nan, 0.0]]), labels, settings)
