"""What there is to draw of a search, in a size that does not grow with the search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from elasticnas.api_schemas.racing import GivenUp
from elasticnas.api_schemas.searches import SearchCreate, is_cost
from elasticnas.api_schemas.spaces import Presence
from elasticnas.api_schemas.verification import Verified
from elasticnas.search.space import SearchSpace
from elasticnas.service.principal import Principal
from elasticnas.service.searches import evaluation_repository as evaluations
from elasticnas.service.searches import front_repository as fronts
from elasticnas.service.searches import repository
from elasticnas.service.supernets.report_cache import ReportCache
from elasticnas.tasks import TASKS, Metric

MOST = 5000
"""Evaluations that a picture is drawn of, beside the front and the reference subnets: of more,
every second, third, ... is taken."""


@dataclass(frozen=True)
class Measured:
    """An evaluation that did not fail; ``metrics`` are estimated where it was given up."""

    number: int
    sequence: int
    origin: str
    choices: Sequence[int]
    metrics: Mapping[str, float]
    cost: Mapping[str, float]
    hypervolume: float
    is_given_up: bool = False
    verified: Verified | None = None

    def __getitem__(self, objective: str) -> float:
        """The value of a metric or a cost."""
        return float(self.metrics[objective] if objective in self.metrics else self.cost[objective])


@dataclass(frozen=True)
class Subject:
    """A search and its evaluations: ``measured`` by number, perhaps thinned out, and ``front``."""

    title: str
    request: SearchCreate
    max_length: int
    space: SearchSpace
    presences: Sequence[Presence]
    evaluated: int
    hypervolume: float
    measured: Sequence[Measured] = field(repr=False)
    front: Sequence[Measured] = field(repr=False)

    @property
    def metric(self) -> str:
        """The first metric among the objectives."""
        return next(name for name in self.request.objectives or () if not is_cost(name))

    @property
    def across(self) -> str:
        """What the front is drawn over: the first cost, or the other metric where there is none."""
        others = [name for name in self.request.objectives or () if name != self.metric]
        return next((name for name in others if is_cost(name)), others[0])

    @property
    def is_thinned(self) -> bool:
        """True when not every evaluation is there."""
        return len(self.measured) < self.evaluated

    @classmethod
    def read(
        cls, session: Session, principal: Principal, reports: ReportCache, search_id: str
    ) -> Subject:
        """The search as it is now, or 404."""
        row = repository.found(session, principal, search_id)
        evaluated = row.completed + row.given_up
        light = evaluations.sample(session, search_id, stride=1 + max(0, evaluated - 1) // MOST)
        supernet = reports.get(session, row.supernet_id)
        return cls(
            title=row.name or row.id,
            request=SearchCreate.model_validate(row.request),
            max_length=row.max_length,
            space=supernet.space,
            presences=supernet.report.presences,
            evaluated=evaluated,
            hypervolume=row.hypervolume,
            measured=[_measured(each, TASKS[row.task].raced) for each in light],
            front=[_front_member(each) for each in fronts.points(session, search_id)],
        )


def _measured(row: Row[Any], raced: Metric | None) -> Measured:
    found = dict(row._mapping)
    given_up, rungs = found.pop("given_up"), found.pop("rungs")
    if given_up is not None and raced is not None:  # only what is raced is given up
        found["metrics"] = {raced.name: GivenUp.model_validate(given_up).estimate}
    is_stopped = found["metrics"] is None and bool(rungs)
    if is_stopped:
        found["metrics"] = rungs[-1]["metrics"]
    return Measured(**found, is_given_up=given_up is not None or is_stopped)


def _front_member(row: Row[Any]) -> Measured:
    # A problem is kept in place of what could not be verified.
    is_verified = row.verified is not None and "problem" not in row.verified
    return Measured(
        row.number,
        row.sequence or 0,
        row.origin,
        row.choices,
        row.metrics or {},
        row.cost,
        row.hypervolume or 0.0,
        verified=Verified.model_validate(row.verified) if is_verified else None,
    )
