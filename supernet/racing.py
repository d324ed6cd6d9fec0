"""Measuring a subnet lap by lap, until it has lost to its rival or every row is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from elasticnas.api_schemas.racing import GivenUp, Hits, Racing, Rival
from elasticnas.search.racing import Course, pack, unpack
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.batching import batches_for
from elasticnas.supernet.evaluation import subnet_logits
from elasticnas.supernet.examples import Batch, TokenizedExamples
from elasticnas.supernet.forward.prefixes import PrefixCache, Prefixes
from elasticnas.supernet.metrics import task_metrics
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import Task


@dataclass(frozen=True)
class Lap:
    """Rows of a dataset, by their places in it, in batches of their own.

    A batch's rows count within the lap. ``prefixes`` are of just these batches.
    """

    rows: NDArray[np.intp]
    batches: Sequence[Batch]
    prefixes: Prefixes | None = None


@dataclass(frozen=True)
class Measured:
    """Metrics, with hits where the search races; or where the subnet was given up."""

    metrics: dict[str, float] | None = None
    hits: Hits | None = None
    given_up: GivenUp | None = None


def measure(
    supernet: Supernet,
    subnet: SubnetConfig,
    laps: Sequence[Lap],
    labels: torch.Tensor,
    task: Task,
    racing: Racing | None = None,
    *,
    course: Course | None = None,
    rival: Rival | None = None,
    is_unwanted: Callable[[], bool] = lambda: False,
    share: bool = True,
) -> Measured:
    """Run a subnet over the ``laps`` of a ``course``; without a course or a rival to the end.

    ``labels`` (rows,) stay on the CPU; in a search that races they are classes. After each lap but
    the last the subnet is given up if it stands too badly against ``rival``. The device is waited
    for once a lap. First layers that the laps' prefixes know are run only if not to ``share``.

    Raises:
        EvaluationUnwantedError: ``is_unwanted`` said so.
    """
    known = None if rival is None else unpack(rival.hits)
    hits: NDArray[np.bool_] = np.zeros(len(labels), dtype=bool)
    parts: list[torch.Tensor] = []
    run = 0
    for lap in laps:
        logits = subnet_logits(
            supernet,
            subnet,
            lap.batches,
            rows=len(lap.rows),
            is_unwanted=is_unwanted,
            prefixes=lap.prefixes if share else None,
        )
        parts.append(logits)
        run += len(lap.rows)
        if racing is None:
            continue
        hits[lap.rows] = (logits.argmax(dim=-1) == labels[lap.rows]).numpy()
        if course is None or rival is None or known is None or run == len(labels):
            continue
        standing = course.standing(hits, known, rows=run)
        if standing.is_lost(racing.confidence):
            return Measured(given_up=standing.against(rival.number))
    order = np.concatenate([lap.rows for lap in laps])
    metrics = task_metrics(task, torch.cat(parts), labels[order])
    return Measured(metrics, None if racing is None else pack(hits))


def laps_of(
    examples: TokenizedExamples,
    course: Course | None,
    supernet: Supernet,
    *,
    token_budget: int,
    cache: PrefixCache | None = None,
) -> list[Lap]:
    """The laps of a course, where ``supernet`` is; without a course a single lap of all rows.

    With a ``cache`` each lap has prefixes.
    """
    ends = (len(examples),) if course is None else course.laps
    order = np.arange(len(examples)) if course is None else course.order
    laps: list[Lap] = []
    for rows in np.split(order, ends[:-1]):
        batches = batches_for(supernet, examples.select(rows.tolist()), token_budget)
        prefixes = None if cache is None else cache.of(supernet, batches, begins=not laps)
        laps.append(Lap(rows, batches, prefixes))
    return laps
