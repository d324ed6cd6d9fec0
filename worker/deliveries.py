"""How often work was begun, so that what kills workers is given up at last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from elasticnas.worker.broker_errors import BROKER_ERRORS
from elasticnas.worker.signals import WorkSignals

ATTEMPTS = 3
"""How often work may be begun. The last attempt at a measurement is made in a process of its own,
so that a subnet that kills its process ends as a failed evaluation with a traceback."""


class WorkersDiedError(Exception):
    """A job that kills the workers that do it is given up."""


class Deliveries:
    """Counts attempts by name; while the broker does not answer, each is taken for the first."""

    def __init__(self, signals: WorkSignals) -> None:
        self._signals = signals

    def begin(self, delivery: str) -> int:
        """One more than the workers that have died over this delivery."""
        try:
            return self._signals.begin(delivery)
        except BROKER_ERRORS:
            return 1

    def finish(self, delivery: str) -> None:
        """No worker died over this; should it come again all the same, no harm is done."""
        with suppress(*BROKER_ERRORS):
            self._signals.finish(delivery)

    def is_finished(self, delivery: str) -> bool:
        """Two workers that both were given a message must not hand it to and fro for ever."""
        try:
            return self._signals.is_finished(delivery)
        except BROKER_ERRORS:
            return False

    @contextmanager
    def attempt(self, job: str) -> Iterator[None]:
        """Do a job that has no process of its own for its last attempt.

        Raises:
            WorkersDiedError: `ATTEMPTS` workers began it, and none of them finished.
        """
        if self.begin(job) > ATTEMPTS:
            raise WorkersDiedError(f"{ATTEMPTS} workers died over this")
        try:
            yield
        finally:
            self.finish(job)
