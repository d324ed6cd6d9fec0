"""Measuring the subnets that a search proposes."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from elasticnas.api_schemas.messages import (
    EvaluateSubnets,
    SubnetOutcome,
    SubnetsEvaluated,
    SubnetsStarted,
    SubnetToEvaluate,
)
from elasticnas.api_schemas.problems import Problem
from elasticnas.supernet.measuring.measure import EvaluationUnwantedError, Measured
from elasticnas.supernet.training.state import STATE_FILE
from elasticnas.worker.evaluator import SubnetAsked
from elasticnas.worker.failures import as_problem
from elasticnas.worker.handler import Tools, handles
from elasticnas.worker.subnet_batch import SubnetBatchHandler


@handles(EvaluateSubnets)
class EvaluateHandler(SubnetBatchHandler[EvaluateSubnets]):
    """Measures each subnet of a batch; one that fails does not take the others with it."""

    def __init__(self, tools: Tools, message: EvaluateSubnets) -> None:
        super().__init__(tools, message)
        self._outcomes: list[SubnetOutcome] = []

    def begin(self, wanted: list[SubnetToEvaluate]) -> list[SubnetToEvaluate]:
        """Say that the batch is taken; each subnet then finds what it shares with those before."""
        numbers = tuple(item.number for item in wanted)
        search_id, worker = self.message.search_id, self.tools.worker
        self.tools.send(SubnetsStarted(search_id=search_id, worker=worker, numbers=numbers))
        self.load()
        evaluator = self.evaluator
        if isinstance(evaluator, Problem):
            return wanted
        return sorted(wanted, key=lambda item: evaluator.place(item.subnet))

    def take(self, item: SubnetToEvaluate, attempt: int) -> None:
        """Keep its outcome, so that one message carries those of the batch."""
        self._outcomes.append(self._outcome(item, attempt))
        if attempt > 1:
            # A worker has died over this batch: let no result depend on what comes after it.
            self.leave()

    def leave(self) -> None:
        """Send the outcomes so far, in the order they were asked for."""
        outcomes, self._outcomes = sorted(self._outcomes, key=lambda each: each.number), []
        if not outcomes:
            return
        search_id, worker = self.message.search_id, self.tools.worker
        self.tools.send(
            SubnetsEvaluated(search_id=search_id, worker=worker, outcomes=tuple(outcomes))
        )
        for outcome in outcomes:
            self.tools.deliveries.finish(self.delivery(outcome.number, outcome.attempt))

    def _outcome(self, item: SubnetToEvaluate, attempt: int) -> SubnetOutcome:
        started_at, start = datetime.now(UTC), time.perf_counter()
        found: Measured | Problem
        weights = item.trained
        state: str | None = None
        try:
            with self.training_files(item) as files:
                racing, rival = self.message.racing, self.message.rival(item)
                found = self.measure(SubnetAsked(item.subnet, racing, rival, files), attempt)
                if files.kept is not None and isinstance(found, Measured):
                    weights, _ = self.tools.blobs.store(files.kept)
                if files.state is not None and isinstance(found, Measured):
                    state, _ = self.tools.blobs.store(files.state / STATE_FILE)
        except EvaluationUnwantedError:
            raise
        except Exception as error:
            found = as_problem(error, "The evaluation failed", "evaluation-failed")
        self.tools.activity.evaluations += 1
        measured = Measured() if isinstance(found, Problem) else found
        return SubnetOutcome(
            number=item.number,
            attempt=item.attempt,
            precision=None if isinstance(found, Problem) else self.message.conditions.precision,
            metrics=measured.metrics,
            hits=measured.hits,
            given_up=measured.given_up,
            weights=weights,
            rung=0 if item.rung is None else item.rung.number,
            state=state,
            problem=found if isinstance(found, Problem) else None,
            started_at=started_at,
            duration_seconds=time.perf_counter() - start,
        )
