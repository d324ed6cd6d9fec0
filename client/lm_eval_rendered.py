"""What a task of lm-eval becomes: rows, and the form fields that say how they are measured."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elasticnas.api_schemas.problems import InputError

FIELD = "lm_eval"
"""What problems of a task's name point to."""
ELSEWHERE = "measure it by lm-eval itself, on exported weights or by SubnetLM (docs/tasks.md)"
CONTEXT, CHOICES, ANSWER = "context", "choices", "answer"
"""Columns of rows."""


@dataclass(frozen=True)
class AskedDoc:
    """A row of lm-eval's: its place, its fields, and what a model is asked, request by request."""

    number: int
    doc: Mapping[str, Any]
    requests: Sequence[tuple[Any, ...]]


@dataclass(frozen=True)
class RenderedTask:
    """The rows of a dataset, and what their upload says of them.

    ``settings`` are the dataset's ``task_settings``, so a search need not say them. ``metrics`` are
    those that lm-eval measures the task by and we too, the first of which is the dataset's;
    ``unmeasured`` are lm-eval's others. ``note`` says what a user may want to know of a choice that
    was made.
    """

    name: str
    rows: Sequence[Mapping[str, Any]]
    task: str
    columns: Mapping[str, str]
    settings: Mapping[str, Any]
    metrics: Sequence[str]
    unmeasured: Sequence[str]
    note: str | None = None

    @property
    def fields(self) -> dict[str, str]:
        """The form fields of ``POST /v1/datasets`` beside the file and the name."""
        return {
            "task": self.task,
            **self.columns,
            "task_settings": json.dumps(self.settings),
            "metric": self.metrics[0],
        }


def metrics_of(task: Any, known: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """lm-eval's metrics of a task: those that are ``known``, and the others.

    ``known`` says for each by which aggregation of lm-eval ours is taken.

    Raises:
        InputError: none is.
    """
    from lm_eval.api.registry import get_aggregation

    said = task.aggregation()
    ours = [name for name in said if name in known and said[name] is get_aggregation(known[name])]
    if not ours:
        raise refusal(
            task,
            f"it is measured by {', '.join(said)}, and {', '.join(known)} are what is measured "
            "here of its kind",
            ELSEWHERE,
        )
    return ours, [name for name in said if name not in ours]


def require_text(task: Any, doc: AskedDoc, what: str, value: Any) -> str:
    """A text that is not empty.

    Raises:
        InputError: it is none.
    """
    if not isinstance(value, str) or not value:
        raise doc_refusal(task, doc, f"{what} is not text, or empty")
    return value


def require_filters(task: Any, known: Collection[str]) -> None:
    """Nothing but ``known`` functions come between a model's answer and the metrics.

    Raises:
        InputError: another does.
    """
    for pipeline in task.config.filter_list or ():
        for function in pipeline["filter"]:
            if function["function"] not in known:
                raise refusal(task, f"its filter {function['function']} is not known", ELSEWHERE)


def refusal(task: Any, why: str, remedy: str | None = None) -> InputError:
    """The error of a task that cannot become a dataset."""
    return InputError(why, field=FIELD, value=task.config.task, remedy=remedy)


def doc_refusal(task: Any, doc: AskedDoc, why: str) -> InputError:
    """The same because of one of its rows."""
    return refusal(
        task,
        f"of row {doc.number} (from 0) {why}",
        "leave such rows out by process_docs in a YAML that includes the task's",
    )
