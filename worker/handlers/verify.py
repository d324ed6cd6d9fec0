"""Measuring the front of a search once more, on rows that it never saw."""

from __future__ import annotations

from collections.abc import Callable

from elasticnas.api_schemas.messages import SubnetsVerified, SubnetToEvaluate, VerifySubnets
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.verification import Verified
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.evaluation import EvaluationUnwantedError
from elasticnas.supernet.racing import Measured
from elasticnas.supernet.verification import Scores, Verification
from elasticnas.tasks import TASKS
from elasticnas.worker.deliveries import ATTEMPTS
from elasticnas.worker.failures import as_problem
from elasticnas.worker.handler import Tools, handles
from elasticnas.worker.model_cache import CachedDataset
from elasticnas.worker.subnet_batch import SubnetBatchHandler


@handles(VerifySubnets)
class VerifyHandler(SubnetBatchHandler[VerifySubnets]):
    """Answers for each subnet by itself; the maximal subnet is scored once for all."""

    suffix = "/verification"
    verifies = True

    def __init__(self, tools: Tools, message: VerifySubnets) -> None:
        super().__init__(tools, message)
        self._maximal: Scores | Problem | None = None

    def begin(self, wanted: list[SubnetToEvaluate]) -> list[SubnetToEvaluate]:
        """In the order of the message."""
        self._loaded = self.load()
        return wanted

    def take(self, item: SubnetToEvaluate, attempt: int) -> None:
        """Send what the subnet measures."""
        found: Verified | Problem
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
                precision=None if isinstance(found, Problem) else self.message.precision,
                verified=None if isinstance(found, Problem) else (found,),
                problem=found if isinstance(found, Problem) else None,
            )
        )
        self.tools.deliveries.finish(self.delivery(item.number, item.attempt))

    def _verified(self, item: SubnetToEvaluate, attempt: int) -> Verified | Problem:
        if isinstance(self._loaded, Problem):
            return self._loaded
        if attempt >= ATTEMPTS:
            apart = self.measure_apart(item)
            assert not isinstance(apart, Measured)
            return apart
        held, dataset = self._loaded
        space = held.supernet.space
        verification = Verification(held.supernet, dataset.labels, TASKS[self.message.task])
        if self._maximal is None:
            self._maximal = self._scores(space.maximal, verification, dataset)
        if isinstance(self._maximal, Problem):
            return self._maximal
        found = self._scores(space.subnet(item.subnet), verification, dataset)
        return found if isinstance(found, Problem) else verification.compare(found, self._maximal)

    def _scores(
        self, subnet: SubnetConfig, verification: Verification, dataset: CachedDataset
    ) -> Scores | Problem:
        def work(ask: Callable[[], bool], _: bool) -> Scores:
            return verification.score(subnet, dataset.laps[0].batches, ask)

        return self.guarded(work, dataset)
