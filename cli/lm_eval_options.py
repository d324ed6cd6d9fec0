"""The options of ``elasticnas dataset add`` that take a task of lm-eval for a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from elasticnas.api_schemas.problems import InputError
from elasticnas.cli.extras import demand_extras

if TYPE_CHECKING:
    from elasticnas.client.lm_eval_rendered import RenderedTask

OptionalLmEvalTask = Annotated[
    str | None,
    typer.Option(
        "--lm-eval",
        metavar="TASK",
        help="Instead of a file: a task that lm-eval has, or the YAML of one. Rows, prompts and "
        "metrics are the task's. Needs elasticnas\\[lm].",
    ),
]
NumFewshot = Annotated[
    int | None,
    typer.Option(
        "--num-fewshot",
        min=0,
        help="With --lm-eval: examples before each row; default: the task's.",
    ),
]
RowLimit = Annotated[
    int | None, typer.Option("--limit", min=1, help="With --lm-eval: the first rows alone.")
]
AnswerFilter = Annotated[
    str | None,
    typer.Option(
        "--lm-eval-filter",
        metavar="NAME",
        help="With --lm-eval: how answers are read, where the task has several ways; default: its "
        "first.",
    ),
]


@dataclass(frozen=True)
class LmEvalOptions:
    """What the options say of a task of lm-eval; ``task`` is None where a file is uploaded."""

    task: str | None
    num_fewshot: int | None
    limit: int | None
    answer_filter: str | None

    def require_none(self) -> None:
        """Nothing is said of a task, as there is none.

        Raises:
            InputError: something is.
        """
        given = {
            "--num-fewshot": self.num_fewshot,
            "--limit": self.limit,
            "--lm-eval-filter": self.answer_filter,
        }
        for option, value in given.items():
            if value is not None:
                raise InputError("this goes with --lm-eval", field=option, value=value)

    def rendered(self) -> RenderedTask:
        """The task's rows and settings.

        Raises:
            InputError: lm-eval is not installed, or the task cannot become a dataset.
        """
        demand_extras("lm")
        from elasticnas.client.lm_eval_tasks import rendered_task

        assert self.task is not None
        return rendered_task(
            self.task,
            num_fewshot=self.num_fewshot,
            limit=self.limit,
            answer_filter=self.answer_filter,
        )
