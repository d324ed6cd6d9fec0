"""Public data as its files really come, and how lm-eval prompts language models with it.

A kind says which columns a file has, how they become texts, choices and answers, and the settings
that a search measures them by unless it says others. Columns and prompts are those of lm-eval 0.4's
tasks of the same names on the data sets of the Hugging Face hub that these load.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from elasticnas.api_schemas.registry import Registry
from elasticnas.tasks.columns import Columns
from elasticnas.tasks.generation import GENERATION
from elasticnas.tasks.multiple_choice import MULTIPLE_CHOICE
from elasticnas.tasks.question_answering import QUESTION_ANSWERING
from elasticnas.tasks.task import ColumnsAsked, read_texts

Derive = Callable[[Columns], dict[str, list[Any]]]


@dataclass(frozen=True)
class DatasetKind:
    """What a kind of file holds: ``asked`` columns, and default ``settings`` of searches.

    Where texts are not the file's own, ``derive`` makes columns from those that it ``reads``.
    """

    name: str
    asked: ColumnsAsked
    settings: Mapping[str, Any] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    derive: Derive | None = None
    task: str = MULTIPLE_CHOICE.name

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the file must have."""
        return self.reads or self.asked.names

    def derived(self, columns: Columns) -> Columns:
        """The columns that are asked for.

        Raises:
            InputError: a value is not what this kind of file holds.
        """
        if self.derive is None:
            return columns
        values = {**columns.values, **self.derive(columns)}
        return Columns(values, columns.unit, columns.lines, columns.has_types)


KINDS: Registry[DatasetKind] = Registry("kind of dataset")
"""Every kind."""


def _kind(name: str, asked: ColumnsAsked, **others: Any) -> None:
    KINDS.register(name, DatasetKind(name, asked, **others))


def _hellaswag(columns: Columns) -> dict[str, list[Any]]:
    """lm-eval's ``process_docs``: activity and context in one text, WikiHow's marks taken out."""
    names = ("activity_label", "ctx_a", "ctx_b")
    texts = read_texts(columns, names)
    rows = zip(*(texts[name] for name in names), strict=True)
    endings = [
        [_unmarked(each) if isinstance(each, str) else each for each in value]
        if isinstance(value, list)
        else value
        for value in columns.values["endings"]
    ]
    queries = [_unmarked(f"{label}: {a} {b.capitalize()}") for label, a, b in rows]
    return {"query": queries, "endings": endings}


def _unmarked(text: str) -> str:
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")


def _winogrande(columns: Columns) -> dict[str, list[Any]]:
    """The sentence before its blank, and the one behind it."""
    parts = []
    for index, sentence in enumerate(read_texts(columns, ("sentence",))["sentence"]):
        before, blank, after = sentence.partition("_")
        if not blank or not after.strip():
            raise columns.fault("sentence", index, "text", "has no blank '_' with words behind it")
        parts.append((before, after.strip()))
    return {"before": [b for b, _ in parts], "after": [a for _, a in parts]}


_QUESTION = {"prompt": "Question: {question}\nAnswer:"}
_ARC = ColumnsAsked(("question",), "answerKey", choices=("choices",))
_kind("arc_easy", _ARC, settings=_QUESTION)
_kind("arc_challenge", _ARC, settings=_QUESTION)
_kind(
    "boolq",
    ColumnsAsked(("passage", "question"), "label"),
    settings={"prompt": "{passage}\nQuestion: {question}?\nAnswer:", "choices": ["no", "yes"]},
)
_kind(
    "hellaswag",
    ColumnsAsked(("query",), "label", choices=("endings",)),
    settings={"prompt": "{query}"},
    reads=("activity_label", "ctx_a", "ctx_b", "endings", "label"),
    derive=_hellaswag,
)
_kind(
    "openbookqa",
    ColumnsAsked(("question_stem",), "answerKey", choices=("choices",)),
    settings={"prompt": "{question_stem}"},
)
_kind(
    "piqa",
    ColumnsAsked(("goal",), "label", choices=("sol1", "sol2")),
    settings={"prompt": "Question: {goal}\nAnswer:"},
)
_kind(
    "winogrande",
    ColumnsAsked(("before", "after"), "answer", choices=("option1", "option2"), first_label=1),
    settings={"prompt": "{before}{choice}", "continuation": "{after}"},
    reads=("sentence", "option1", "option2", "answer"),
    derive=_winogrande,
)
_kind(
    "gsm8k",
    ColumnsAsked(("question",), "answer"),
    settings={**_QUESTION, "answer": "number", "stop": ["Question:"]},
    task=GENERATION.name,
)
_SQUAD = ColumnsAsked(("question", "context"), "answers")
_kind("squad", _SQUAD, task=QUESTION_ANSWERING.name)
_kind("squad_v2", _SQUAD, settings={"null_threshold": 0.0}, task=QUESTION_ANSWERING.name)
