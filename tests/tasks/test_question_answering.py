"""Answers by SQuAD's rule, and the rows that have them."""

from __future__ import annotations

import json
import random
import re
import string
from collections import Counter
from typing import Any

import numpy as np
import pytest

from elasticnas.api_schemas.problems import InputError
from elasticnas.tasks import QUESTION_ANSWERING
from elasticnas.tasks.columns import Columns
from elasticnas.tasks.contracts import TaskContract
from elasticnas.tasks.question_answering import QuestionAnsweringSettings
from elasticnas.tasks.question_answering_rule import golds, normalised, score
from elasticnas.tasks.rows import Rows
from elasticnas.tasks.task import ColumnsAsked


class TestQuestionAnswering(TaskContract):
    task = QUESTION_ANSWERING
    settings = QuestionAnsweringSettings(stride=16, null_threshold=-0.5)
    raw = np.array(["the red fox", "fox", "", "blue"] * 10, dtype=object)
    labels = QUESTION_ANSWERING.labels(
        Rows(
            {"question": ["q"] * 40, "context": ["c"] * 40},
            np.array(
                ['["red fox", "a fox"]', "[]", '["Blue!"]', "[]", '["sky"]'] * 8, dtype=object
            ),
        ),
        settings,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Denver Broncos!", "denver broncos"),
        ("an  apple,\ta day", "apple day"),
        ("$5.3 million", "53 million"),
        ("state-of-the-art", "stateoftheart"),
        ("Theatre and another", "theatre and another"),
        ("the", ""),
        ("Élan “vital”", "élan “vital”"),
        ("A U.S. (based) team", "us based team"),
    ],
)
def test_texts_are_normalised_as_the_official_script_does(text: str, expected: str):
    """Lower case, then ASCII punctuation, then articles as whole words, then white space."""
    assert normalised(text) == expected


@pytest.mark.parametrize(
    ("predicted", "answers", "is_right", "f1"),
    [
        # Several answers: the best counts, for each number by itself.
        ("Denver Broncos", ["Denver Broncos", "Denver Broncos", "Broncos"], True, 1.0),
        ("the Broncos", ["Carolina Panthers", "Broncos"], True, 1.0),
        ("Santa Clara, California", ["Santa Clara", "Levi's Stadium in Santa Clara"], False, 0.8),
        ("gold gold", ["gold"], False, 2 / 3),
        ("black", ["gold"], False, 0.0),
        # No answer: right only if nothing is said, and no word is shared with nothing.
        ("", [], True, 1.0),
        ("anything", [], False, 0.0),
        ("", ["gold"], False, 0.0),
        ("the", [], True, 1.0),
        # What is nothing but an article is no answer, as in evaluate-v2.0.py.
        ("gold", ["the", "gold"], True, 1.0),
        ("", ["the"], True, 1.0),
    ],
)
def test_answers_are_right_by_the_official_rule(
    predicted: str, answers: list[str], is_right: bool, f1: float
):
    assert score(predicted, golds(answers)) == (is_right, pytest.approx(f1, abs=1e-12))


def test_metrics_are_the_means_of_rows():
    labels = QUESTION_ANSWERING.labels(
        Rows({"q": ["?"] * 3, "c": ["."] * 3}, np.array(['["gold"]', "[]", '["gold"]'], object)),
        QuestionAnsweringSettings(),
    )
    raw = np.array(["the gold", "gold", "gold gold"], dtype=object)
    outcomes = QUESTION_ANSWERING.outcomes(raw, labels, QuestionAnsweringSettings())
    found = QUESTION_ANSWERING.measure(outcomes)
    assert found == pytest.approx({"exact_match": 1 / 3, "answer_f1": (1 + 2 / 3) / 3})


PUBLISHED = [
    ("1976", ["1976"], (True, 1.0)),
    ("1999", ["1976"], (False, 0.0)),
    ("Beyonce", ["Beyoncé and Bruno Mars"], (False, 0.0)),
    ("climate change", ["climate change"], (True, 1.0)),
]
"""The examples on the card of the hub's metric squad_v2, which wraps the official script."""


@pytest.mark.parametrize(("predicted", "answers", "expected"), PUBLISHED)
def test_the_published_examples(predicted: str, answers: list[str], expected: tuple[bool, float]):
    assert score(predicted, golds(answers)) == expected


def test_random_texts_are_scored_as_by_the_official_script():
    """`compute_exact` and `compute_f1` are written down below, and its choice among answers."""
    rng = random.Random(2)
    words = ["the", "A", "an", "red.", "Red", "fox,", "fox", "--", "the-fox", "fox's", "", " \t"]

    def text() -> str:
        return rng.choice(["", " ", "! "]).join(rng.choices(words, k=rng.randint(0, 5)))

    seen = set()
    for _ in range(2000):
        answers, predicted = [text() for _ in range(rng.randint(0, 3))], text()
        kept = [each for each in answers if officially_normalised(each)] or [""]
        exact = max(officially_normalised(e) == officially_normalised(predicted) for e in kept)
        f1 = max(official_f1(each, predicted) for each in kept)
        assert score(predicted, golds(answers)) == (exact, pytest.approx(f1, abs=1e-12))
        seen.add((exact, round(f1, 2)))
    assert len(seen) > 8


def officially_normalised(text: str) -> str:
    kept = "".join(each for each in text.lower() if each not in set(string.punctuation))
    return " ".join(re.sub(re.compile(r"\b(a|an|the)\b", re.UNICODE), " ", kept).split())


def official_f1(gold: str, predicted: str) -> float:
    expected = officially_normalised(gold).split() if gold else []
    found = officially_normalised(predicted).split() if predicted else []
    same = sum((Counter(expected) & Counter(found)).values())
    if not expected or not found:
        return int(expected == found)
    if same == 0:
        return 0
    precision, recall = 1.0 * same / len(found), 1.0 * same / len(expected)
    return (2 * precision * recall) / (precision + recall)


def columns(*answers: Any, has_types: bool = True) -> Columns:
    texts = {name: [name] * len(answers) for name in ("question", "context")}
    return Columns({**texts, "answers": list(answers)}, "row", has_types=has_types)


ASKED = ColumnsAsked(("question", "context"), "answers")


def test_answers_come_as_squad_has_them_or_as_texts():
    published = {"text": ["gold", "the gold"], "answer_start": [4, 0]}
    nested = [{"text": "gold", "answer_start": 4}, {"text": "the gold", "answer_start": 0}]
    none: dict[str, list[Any]] = {"text": [], "answer_start": []}
    given = (published, nested, ["gold", "the gold"], none, [])
    expected = ['["gold", "the gold"]'] * 3 + ["[]"] * 2
    rows, names = QUESTION_ANSWERING.read(columns(*given), ASKED)
    assert (rows.labels.tolist(), rows.columns, names) == (expected, ("question", "context"), None)
    written = columns(*map(json.dumps, given), has_types=False)
    assert QUESTION_ANSWERING.read(written, ASKED)[0].labels.tolist() == expected


@pytest.mark.parametrize(
    "value", ["gold", None, {"text": "gold"}, {"texts": []}, [3], [["x"]], ["\ud800"]]
)
def test_what_is_no_list_of_answers_is_named(value: Any):
    with pytest.raises(InputError, match="row 2") as caught:
        QUESTION_ANSWERING.read(columns(["gold"], value), ASKED)
    assert caught.value.field == "answers"


def test_starts_must_be_as_many_as_texts():
    with pytest.raises(InputError, match="as many starts as texts"):
        QUESTION_ANSWERING.read(columns({"text": ["a"], "answer_start": [1, 2]}), ASKED)


def test_answers_that_are_no_json_are_named():
    with pytest.raises(InputError, match="not JSON"):
        QUESTION_ANSWERING.read(columns("{'text': []}", has_types=False), ASKED)


@pytest.mark.parametrize(
    "asked",
    [
        ColumnsAsked(("context",), "answers"),
        ColumnsAsked(("question", "context"), "answers", label_names=("yes",)),
    ],
)
def test_a_dataset_has_a_question_and_a_context_and_no_names(asked: ColumnsAsked):
    with pytest.raises(InputError):
        QUESTION_ANSWERING.read(columns(["gold"]), asked)


def test_windows_go_on():
    QUESTION_ANSWERING.require_length(QuestionAnsweringSettings(), 4)
    QUESTION_ANSWERING.require_length(QuestionAnsweringSettings(stride=127), 128)
    assert QuestionAnsweringSettings().shared_tokens(384) == 128
    with pytest.raises(InputError) as caught:
        QUESTION_ANSWERING.require_length(QuestionAnsweringSettings(stride=128), 128)
    assert caught.value.field == "task_settings/stride"
