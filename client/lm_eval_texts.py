"""lm-eval's ``loglikelihood_rolling``: texts whose perplexity is measured."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from elasticnas.client.lm_eval_rendered import (
    ELSEWHERE,
    AskedDoc,
    RenderedTask,
    metrics_of,
    refusal,
    require_filters,
    require_text,
)

METRICS = {"word_perplexity": "weighted_perplexity", "byte_perplexity": "weighted_perplexity"}
TEXT, COUNTED = "text", "counted"
LOG_LIKELIHOOD = -1.0
"""Stands for a model's answer, of which only the numbers beside it are looked at."""


def texts(task: Any, docs: Sequence[AskedDoc]) -> RenderedTask:
    """A row for each text, with the text whose words and bytes are counted where that is another.

    WikiText is scored without the marks of its tokens, and counted with them: a task's own
    ``process_results`` says how many words and bytes a row has, and a field of the row that has as
    many is what it counts.

    Raises:
        InputError: a text is empty, or no field has as many words and bytes.
    """
    metrics, others = metrics_of(task, METRICS)
    require_filters(task, ("take_first",))
    scored = [require_text(task, doc, "the text", doc.requests[0][0]) for doc in docs]
    counted = _counted(task, docs, scored, metrics)
    if counted == scored:
        rows, columns, settings = [{TEXT: text} for text in scored], [TEXT], {}
    else:
        rows = [{TEXT: a, COUNTED: b} for a, b in zip(scored, counted, strict=True)]
        columns, settings = [TEXT, COUNTED], {"counted": f"{{{COUNTED}}}"}
    return RenderedTask(
        task.config.task,
        rows,
        "perplexity",
        {"text_columns": ",".join(columns)},
        {"prompt": f"{{{TEXT}}}", "windows": "rolling", **settings},
        metrics,
        others,
    )


def _counted(
    task: Any, docs: Sequence[AskedDoc], scored: list[str], metrics: Sequence[str]
) -> list[str]:
    """The texts that have the words and bytes by which lm-eval divides."""
    lengths = [_lengths(task, doc, metrics) for doc in docs]
    fields = [name for name, value in docs[0].doc.items() if isinstance(value, str)]
    columns = [scored, *([doc.doc[name] for doc in docs] for name in fields)]
    for column in columns:
        if [_lengths_of(text, metrics) for text in column] == lengths:
            return column
    raise refusal(task, "no field of its rows has as many words and bytes as it counts", ELSEWHERE)


def _lengths(task: Any, doc: AskedDoc, metrics: Sequence[str]) -> list[Any]:
    results = task.process_results(doc.doc, [LOG_LIKELIHOOD])
    pairs = [results.get(name) for name in metrics]
    if not all(isinstance(pair, tuple) and pair[:1] == (LOG_LIKELIHOOD,) for pair in pairs):
        raise refusal(task, "it makes something else of log-likelihoods than a sum", ELSEWHERE)
    return [pair[1] for pair in pairs]


def _lengths_of(text: str, metrics: Sequence[str]) -> list[int]:
    """Words and bytes as lm-eval counts them."""
    counts = {
        "word_perplexity": len(re.split(r"\s+", text)),
        "byte_perplexity": len(text.encode()),
    }
    return [counts[name] for name in metrics]
