"""lm-eval's ``multiple_choice``: contexts, choices, and which of them is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from elasticnas.client.lm_eval_rendered import (
    ANSWER,
    CHOICES,
    CONTEXT,
    ELSEWHERE,
    AskedDoc,
    RenderedTask,
    doc_refusal,
    metrics_of,
    refusal,
    require_filters,
    require_text,
)

METRICS = {"acc": "mean", "acc_norm": "mean"}
"""By lm-eval's names, which are ours too, with the aggregation of each."""
BEFORE, AFTER = "before", "after"


def multiple_choice(task: Any, docs: Sequence[AskedDoc]) -> RenderedTask:
    """A row for each, of which every choice is asked behind one context, or each behind its own.

    The second is lm-eval's "multiple inputs", as of Winogrande: a text in which the choice stands
    is followed by the same continuation.

    Raises:
        InputError: a row has several right choices or none, or is asked in another way.
    """
    metrics, others = metrics_of(task, METRICS)
    require_filters(task, ("take_first",))
    delimiter = task.config.target_delimiter
    row_of = _inputs_row if task.multiple_input else _row
    settings = (
        {"prompt": f"{{{BEFORE}}}{{choice}}", "continuation": f"{{{AFTER}}}"}
        if task.multiple_input
        else {"prompt": f"{{{CONTEXT}}}"}
    )
    columns = (BEFORE, AFTER) if task.multiple_input else (CONTEXT,)
    return RenderedTask(
        task.config.task,
        [row_of(task, doc, delimiter) for doc in docs],
        "multiple-choice",
        {
            "text_columns": ",".join(columns),
            "choices_column": CHOICES,
            "label_column": ANSWER,
        },
        {**settings, "delimiter": delimiter},
        metrics,
        others,
    )


def _row(task: Any, doc: AskedDoc, delimiter: str) -> Mapping[str, Any]:
    choices = _choices(task, doc)
    context = doc.requests[0][0]
    _require_asked(task, doc, [(context, delimiter + choice) for choice in choices])
    right = _right(task, doc, task.doc_to_target(doc.doc), choices)
    return {CONTEXT: context, CHOICES: choices, ANSWER: right}


def _inputs_row(task: Any, doc: AskedDoc, delimiter: str) -> Mapping[str, Any]:
    choices = _choices(task, doc)
    context, continuation = doc.requests[0]
    before, after = context.removesuffix(choices[0]), continuation.removeprefix(delimiter)
    _require_asked(task, doc, [(before + choice, delimiter + after) for choice in choices])
    right = _right(task, doc, task.doc_to_text(doc.doc), choices)
    return {BEFORE: before, CHOICES: choices, AFTER: after, ANSWER: right}


def _choices(task: Any, doc: AskedDoc) -> list[str]:
    choices = [require_text(task, doc, "a choice", each) for each in task.doc_to_choice(doc.doc)]
    if len(choices) < 2:
        raise doc_refusal(task, doc, "there are fewer than two choices")
    return choices


def _require_asked(task: Any, doc: AskedDoc, ours: Sequence[tuple[str, str]]) -> None:
    """What our settings make of the row is what lm-eval asks; more, for other metrics, may come."""
    if list(doc.requests[: len(ours)]) != list(ours):
        raise refusal(
            task, "its requests are not made of a context, a delimiter and a choice", ELSEWHERE
        )


def _right(task: Any, doc: AskedDoc, gold: Any, choices: Sequence[str]) -> int:
    """The place of the right choice, which lm-eval takes by number or by text."""
    if isinstance(gold, list):
        raise refusal(task, "its rows have several right choices", ELSEWHERE)
    if isinstance(gold, str) and gold in choices:
        return choices.index(gold)
    if not isinstance(gold, int) or not 0 <= gold < len(choices):
        raise doc_refusal(task, doc, f"the right choice, {gold!r}, is none of its choices")
    return int(gold)
