"""The workers that are alive, as a coordinator last saw them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy.orm import Session

from elasticnas.api_schemas.messages import EvaluateSubnets
from elasticnas.api_schemas.precision import Precision
from elasticnas.service.workers import repository as workers


@dataclass(frozen=True)
class Crew:
    """How many workers take evaluations, in all and in each precision that they measure in.

    ``evaluating`` are the keys of what all workers are at, as in `WorkerAlive.evaluating`.
    """

    size: int = 0
    by_precision: Mapping[Precision, int] = field(default_factory=dict)
    evaluating: frozenset[str] = frozenset()

    @classmethod
    def look(cls, session: Session, silence: timedelta) -> Crew:
        """The workers that were heard from within ``silence``."""
        alive = workers.alive(session, silence)
        measuring = workers.taking(alive, EvaluateSubnets.queue)
        return cls(
            size=len(measuring),
            by_precision={each: workers.able(measuring, each) for each in Precision},
            evaluating=frozenset(key for worker in alive for key in worker.evaluating),
        )

    def able(self, precision: Precision) -> int:
        """How many of them measure in a precision."""
        return self.by_precision.get(precision, 0)
