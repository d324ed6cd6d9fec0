"""A search that is being driven: its loop, and what of it is in flight."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.orm import Session

from api_schemas.messages import EvaluateSubnets, SubnetToEvaluate
from api_schemas.metrics import Task
from api_schemas.problems import Problem
from api_schemas.searches import SearchCreate
from search.loop import Recorded, SearchLoop
from search.objectives import Objectives
from search.space import SubnetConfig
from service.searches import evaluations
from service.searches.tables import SearchRow
from service.supernets.known import KnownSupernet

MESSAGE_SECONDS = 2.0
"""How long a worker should take over one message: long enough for the queue's cost not to show,
short enough for a cancelled search or a lost worker to cost little."""


@dataclass(frozen=True)
class Outcome:
    """What became of one evaluation: metrics, or the problem it failed with."""

    number: int
    metrics: dict[str, float] | None
    problem: Problem | None
    worker: str | None
    cached: bool
    started_at: datetime
    duration_seconds: float | None


@dataclass
class InFlight:
    """An evaluation that has a row and no result. ``sent`` is None until a message carries it."""

    subnet: SubnetConfig
    attempt: int = 1
    sent: float | None = None


@dataclass
class ActiveSearch:
    """The in-memory half of a running search; all of it can be rebuilt from the rows.

    After a transaction has failed it may be ahead of the rows: it is then thrown away.
    """

    id: str
    request: SearchCreate
    known: KnownSupernet
    objectives: Objectives
    loop: SearchLoop
    supernet_digest: str
    dataset_digest: str
    task: Task
    max_length: int
    elapsed_before: float
    measured: int = 0
    measured_seconds: float = 0.0
    in_flight: dict[int, InFlight] = field(default_factory=dict)
    answered: deque[Outcome] = field(default_factory=deque)
    """Results found in the database, to be recorded like any other."""
    resumed: float = field(default_factory=time.monotonic)

    @property
    def elapsed_seconds(self) -> float:
        """How long the search has been running, over all processes that drove it."""
        return self.elapsed_before + time.monotonic() - self.resumed

    @property
    def out_of_time(self) -> bool:
        """True when the budget's seconds are spent."""
        seconds = self.request.budget.seconds
        return seconds is not None and self.elapsed_seconds >= seconds

    def overdue(self, lease_seconds: float) -> list[int]:
        """The evaluations that were sent longer ago than this."""
        before = time.monotonic() - lease_seconds
        return [n for n, e in self.in_flight.items() if e.sent is not None and e.sent < before]

    def unsent(self) -> list[int]:
        """The evaluations that no message carries yet, and the database does not answer."""
        answered = {outcome.number for outcome in self.answered}
        return sorted(n for n, e in self.in_flight.items() if e.sent is None and n not in answered)

    def messages(self) -> Iterable[EvaluateSubnets]:
        """What is unsent, in batches that take a worker about `MESSAGE_SECONDS`.

        A batch is at most half of the search's window, so that while its result travels back a
        worker has the other half to go on with.
        """
        numbers = self.unsent()
        mean = self.measured_seconds / self.measured if self.measured else MESSAGE_SECONDS
        half = max(1, self.request.parallel_evaluations // 2)
        size = max(1, min(half, round(MESSAGE_SECONDS / max(mean, 1e-3))))
        for start in range(0, len(numbers), size):
            yield EvaluateSubnets(
                search_id=self.id,
                supernet_digest=self.supernet_digest,
                dataset_digest=self.dataset_digest,
                task=self.task,
                max_length=self.max_length,
                subnets=tuple(
                    SubnetToEvaluate(
                        number=number,
                        subnet=dict(self.in_flight[number].subnet),
                        attempt=self.in_flight[number].attempt,
                    )
                    for number in numbers[start : start + size]
                ),
            )


def restore(session: Session, row: SearchRow, known: KnownSupernet) -> ActiveSearch:
    """Rebuild a search from its rows, as it was when the last of them was written.

    What is in flight counts as unsent, because its messages may be lost.
    """
    request = SearchCreate.model_validate(row.request)
    objectives = objectives_of(request, known, row.max_length)
    rows = evaluations.of_search(session, row.id)
    subnets = {each.number: known.space.decode(each.choices) for each in rows}
    loop = SearchLoop(
        request,
        known.space,
        known.report.cost_model,
        max_length=row.max_length,
        objectives=objectives,
        recorded=[
            Recorded(
                number=each.number,
                subnet=subnets[each.number],
                finished=each.finished_at is not None,
                metrics=each.metrics,
            )
            for each in rows
        ],
    )
    mean = evaluations.mean_seconds(session, row.id)
    return ActiveSearch(
        id=row.id,
        request=request,
        known=known,
        objectives=objectives,
        loop=loop,
        supernet_digest=row.supernet_digest,
        dataset_digest=row.dataset_digest,
        task=Task(row.task),
        max_length=row.max_length,
        elapsed_before=row.elapsed_seconds,
        measured=0 if mean is None else 1,
        measured_seconds=mean or 0.0,
        in_flight={
            each.number: InFlight(subnets[each.number], each.attempt + 1)
            for each in rows
            if each.finished_at is None
        },
    )


def objectives_of(request: SearchCreate, known: KnownSupernet, max_length: int) -> Objectives:
    """The objectives of a request whose defaults are filled in."""
    assert request.objectives is not None
    return Objectives(tuple(request.objectives), known.cost(known.space.maximal, max_length))
