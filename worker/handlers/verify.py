"""Measuring the front of a search once more, on rows that it never saw."""

from __future__ import annotations

from elasticnas.api_schemas.messages import SubnetsVerified, SubnetToEvaluate, VerifySubnets
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.verification import Resamples, Verified
from elasticnas.supernet.measuring.confidence import Scores, scores, verified
from elasticnas.supernet.measuring.measure import EvaluationUnwantedError
from elasticnas.tasks import TASKS
from elasticnas.worker.evaluator import SubnetAsked
from elasticnas.worker.failures import as_problem
from elasticnas.worker.handler import Tools, handles
from elasticnas.worker.subnet_batch import SubnetBatchHandler


@handles(VerifySubnets)
class VerifyHandler(SubnetBatchHandler[VerifySubnets]):
    """Answers for each subnet by itself; the maximal subnet is scored once for all."""

    suffix = "/verification"
    verifies = True

    def __init__(self, tools: Tools, message: VerifySubnets) -> None:
        super().__init__(tools, message)
        self._maximal: Scores | Problem | None = None
        self._drawn: Resamples | None = None

    def begin(self, wanted: list[SubnetToEvaluate]) -> list[SubnetToEvaluate]:
        """In the order of the message."""
        self.load()
        return wanted

    def take(self, item: SubnetToEvaluate, attempt: int) -> None:
        """Send what the subnet measures."""
        found: Verified | Problem
        self._drawn = None
        try:
            found = self._verified(item, attempt)
        except EvaluationUnwantedError:
            raise
        except Exception as error:
            found = as_problem(error, "The subnet could not be verified", "verification-failed")
        self.tools.send(
            SubnetsVerified(
                search_id=self.message.search_id,
                numbers=(item.number,),
                attempt=item.attempt,
                precision=None if isinstance(found, Problem) else self.message.conditions.precision,
                verified=None if isinstance(found, Problem) else (found,),
                resamples=None if self._drawn is None else (self._drawn,),
                problem=found if isinstance(found, Problem) else None,
            )
        )
        self.tools.deliveries.finish(self.delivery(item.number, item.attempt))

    def _verified(self, item: SubnetToEvaluate, attempt: int) -> Verified | Problem:
        if self._maximal is None:
            self._maximal = self._scores(SubnetAsked({}), attempt)
        if isinstance(self._maximal, Problem):
            return self._maximal
        with self.training_files(item) as files:
            found = self._scores(SubnetAsked(item.subnet, training=files), attempt)
        if isinstance(found, Problem):
            return found
        assert not isinstance(self.evaluator, Problem)
        self._drawn = {name: score.packed() for name, score in found.items()}
        return verified(self.evaluator.rows, found, self._maximal)

    def _scores(self, asked: SubnetAsked, attempt: int) -> Scores | Problem:
        found = self.measure(asked, attempt)
        if isinstance(found, Problem):
            return found
        assert found.outcomes is not None  # it is in no race
        return scores(TASKS[self.message.conditions.task], found.outcomes)
