"""Measuring a subnet lap by lap, until it has lost to its rival or every row is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from elasticnas.api_schemas.racing import GivenUp, Hits, Racing, Rival
from elasticnas.search.races.course import Course, pack, unpack
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.forward.activation import ActiveSubnet, activate
from elasticnas.supernet.forward.prefixes import PrefixCache, Prefixes
from elasticnas.supernet.measuring.batching import batches_for
from elasticnas.supernet.measuring.examples import Batch, Examples
from elasticnas.supernet.measuring.probes import PROBES, Run, logits
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import Task
from elasticnas.tasks.rows import Labels
from elasticnas.tasks.settings import TaskSettings
from elasticnas.tasks.task import Outcomes, Raw


class EvaluationUnwantedError(Exception):
    """An evaluation was given up because nobody waits for it any more."""


def _wanted() -> bool:
    return False


@dataclass(frozen=True)
class Lap:
    """Rows of a dataset, by their places in it, in batches of their own.

    A batch's rows count within the lap. ``prefixes`` are of just these batches.
    """

    rows: NDArray[np.intp]
    batches: Sequence[Batch]
    prefixes: Prefixes | None = None

    @classmethod
    def whole(cls, batches: Sequence[Batch], prefixes: Prefixes | None = None) -> Lap:
        """All rows of a dataset."""
        rows = torch.unique(torch.cat([batch.rows for batch in batches])).numel()
        return cls(np.arange(rows), batches, prefixes)


@dataclass(frozen=True)
class Measured:
    """Metrics and outcomes of all rows, with hits where the search races; or where it was lost."""

    metrics: dict[str, float] | None = None
    outcomes: Outcomes | None = field(default=None, compare=False)
    hits: Hits | None = None
    given_up: GivenUp | None = None


def measure(
    supernet: Supernet,
    subnet: SubnetConfig,
    laps: Sequence[Lap],
    labels: Labels,
    task: Task,
    racing: Racing | None = None,
    *,
    settings: TaskSettings | None = None,
    course: Course | None = None,
    rival: Rival | None = None,
    is_unwanted: Callable[[], bool] = _wanted,
    share: bool = True,
) -> Measured:
    """Run a subnet over the ``laps`` of a ``course``; without a course or a rival to the end.

    ``labels`` (rows,) are as `Task.labels` makes them with the ``settings``, by default the task's
    own; in a search that races the task has hits. After each lap
    but the last the subnet is given up if it stands too badly against ``rival``. The device is
    waited for once a lap. First layers that the laps' prefixes know are run only if not to
    ``share``.

    Raises:
        EvaluationUnwantedError: ``is_unwanted``, which is asked before every batch, said so.
        InputError: a label does not fit the super-network's head.
        ValueError: prefixes are of another super-network or other batches.
    """
    said = task.settings_type() if settings is None else settings
    known = None if rival is None else unpack(rival.hits)
    hits: NDArray[np.bool_] = np.zeros(len(labels), dtype=bool)
    parts: list[Outcomes] = []
    run = 0
    for lap in laps:
        raw = _raw(supernet, subnet, lap, PROBES[task.probe].run, is_unwanted, share)
        parts.append(task.outcomes(raw, labels[lap.rows], said))
        run += len(lap.rows)
        if racing is None:
            continue
        hits[lap.rows] = task.hits(parts[-1])
        if course is None or rival is None or known is None or run == len(labels):
            continue
        standing = course.standing(hits, known, rows=run)
        if standing.is_lost(racing.confidence):
            return Measured(given_up=standing.against(rival.number))
    outcomes = np.empty(len(labels), parts[0].dtype)
    outcomes[np.concatenate([lap.rows for lap in laps])] = np.concatenate(parts)
    return Measured(task.measure(outcomes), outcomes, None if racing is None else pack(hits))


def laps_of(
    examples: Examples,
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
        prefixes = None
        if cache is not None:
            reads_on = not examples.runs_once
            prefixes = cache.of(supernet, batches, begins=not laps, reads_on=reads_on)
        laps.append(Lap(rows, batches, prefixes))
    return laps


def _raw(
    supernet: Supernet,
    subnet: SubnetConfig,
    lap: Lap,
    run: Run,
    is_unwanted: Callable[[], bool],
    share: bool,
) -> Raw:
    with torch.inference_mode(), ExitStack() as stack:
        if lap.prefixes is None or not share:
            active = activate(supernet, subnet)
        else:
            lap.prefixes.require(supernet, lap.batches)
            active = activate(supernet, subnet, stack.enter_context(lap.prefixes.shared(subnet)))
        parts = _parts(active, lap.batches, run, is_unwanted)
    order = torch.cat([batch.rows for batch in lap.batches])
    if isinstance(parts[0], list):
        texts = np.empty(len(lap.rows), dtype=object)
        texts[order.cpu().numpy()] = [text for part in parts for text in part]
        return texts
    return _in_order(cast("list[torch.Tensor]", parts), order, len(lap.rows)).numpy()


def predict(
    active: ActiveSubnet, batches: Sequence[Batch], *, rows: int, run: Run = logits
) -> torch.Tensor:
    """The raw numbers of every row, shape (rows, numbers), float32 on the CPU, in dataset order.

    The device is waited for once.

    Raises:
        ValueError: there is no batch.
    """
    parts = cast("list[torch.Tensor]", _parts(active, batches, run, _wanted))
    return _in_order(parts, torch.cat([batch.rows for batch in batches]), rows)


def _parts(
    active: ActiveSubnet, batches: Sequence[Batch], run: Run, is_unwanted: Callable[[], bool]
) -> list[torch.Tensor | list[str]]:
    """What the probe gives for each batch.

    Raises:
        ValueError: there is no batch.
        EvaluationUnwantedError: ``is_unwanted`` said so.
    """
    if not batches:
        raise ValueError("no batch to predict on")
    parts = []
    for batch in batches:
        if is_unwanted():
            raise EvaluationUnwantedError
        parts.append(run(active, batch))
    return parts


def _in_order(parts: Sequence[torch.Tensor], order: torch.Tensor, rows: int) -> torch.Tensor:
    """The numbers of rows in dataset order; of a row that several batches have, the sum.

    On the CPU, where sums are made in one order.
    """
    together = torch.cat([part.float() for part in parts]).cpu()
    return torch.zeros(rows, together.shape[-1]).index_add_(0, order.cpu(), together)
