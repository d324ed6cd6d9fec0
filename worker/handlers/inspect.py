"""Reading a checkpoint, to report what it holds."""

from __future__ import annotations

from elasticnas.api_schemas.messages import InspectSupernet, SupernetInspected
from elasticnas.api_schemas.problems import Problem
from elasticnas.supernet.report import report
from elasticnas.supernet.supernet import Supernet
from elasticnas.worker.handler import JobHandler, handles


@handles(InspectSupernet)
class InspectHandler(JobHandler[InspectSupernet]):
    """Reports what a checkpoint holds; what is read is kept, for a search comes next."""

    title = "The checkpoint cannot be used"
    problem_type = "invalid-checkpoint"

    @property
    def job(self) -> str:
        """Named after the super-network."""
        return f"{self.message.supernet_id}/inspection"

    def answer(self) -> SupernetInspected:
        """The report."""
        return SupernetInspected(
            supernet_id=self.message.supernet_id, report=report(self._supernet())
        )

    def _supernet(self) -> Supernet:
        """As it is stored: of a model of any size little comes into memory."""
        return self.tools.models.as_stored(self.message.digest, self.tools.compute.precision)

    def failure(self, problem: Problem) -> SupernetInspected:
        """Why the checkpoint cannot be used."""
        return SupernetInspected(supernet_id=self.message.supernet_id, problem=problem)
