"""Reading a checkpoint, to report what it holds."""

from __future__ import annotations

from elasticnas.api_schemas.messages import InspectSupernet, SupernetInspected
from elasticnas.api_schemas.problems import Problem
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.report import report
from elasticnas.supernet.supernet import Supernet
from elasticnas.worker.handler import JobHandler, handles


@handles(InspectSupernet)
class InspectHandler(JobHandler[InspectSupernet]):
    """Reports what a checkpoint holds; its model is cached, for a search comes next."""

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
        """On the CPU and not cached where a step of a job has the device for itself."""
        if not self.tools.steps.holds_device:
            precision = self.tools.compute.precision
            return self.tools.models.supernet(self.message.digest, precision).supernet
        with self.tools.models.checkpoint(self.message.digest) as folder:
            return read_supernet(folder)

    def failure(self, problem: Problem) -> SupernetInspected:
        """Why the checkpoint cannot be used."""
        return SupernetInspected(supernet_id=self.message.supernet_id, problem=problem)
