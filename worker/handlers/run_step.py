"""Doing one step of a job."""

from __future__ import annotations

from elasticnas.api_schemas.messages import RunStep
from elasticnas.worker.handler import Handler, handles


@handles(RunStep)
class RunStepHandler(Handler[RunStep]):
    """Begins the step; the worker goes on with other messages meanwhile."""

    def handle(self) -> None:
        """Begin. Whatever becomes of the step, the database knows what must be sent again."""
        self.tools.steps.start(self.message)
