"""The one guarded way to measure: within memory, within a time limit, and only while wanted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from elasticnas.api_schemas.problems import Problem
from elasticnas.supernet.measuring.measure import Measured
from elasticnas.worker.evaluator import Evaluator, SubnetAsked
from elasticnas.worker.failures import fault, is_out_of_memory

log = logging.getLogger(__name__)

BASE_SECONDS = 600.0
SECONDS_PER_TOKEN = 0.02
"""The time limit of one measurement is ten minutes, and a fiftieth of a second for each token:
BERT-base on one core needs a thousandth."""


class MeasurementTimeoutError(Exception):
    """A measurement has taken longer than its time limit."""

    def __init__(self, limit_seconds: float) -> None:
        super().__init__(
            f"measuring this subnet took longer than the time limit of {limit_seconds:g} seconds"
        )


def time_limit(setting: float | None, *, tokens: int) -> float:
    """The seconds that one subnet may take on so many tokens, unless a ``setting`` says it."""
    return BASE_SECONDS + SECONDS_PER_TOKEN * tokens if setting is None else setting


def timed_out(limit_seconds: float, trace: str = "") -> Problem:
    """The problem of a measurement that took too long."""
    return fault(
        "The measurement took too long",
        "evaluation-timeout",
        f"{MeasurementTimeoutError(limit_seconds)}; if that is no fault, raise "
        "ELASTICNAS_WORKER_EVALUATION_TIMEOUT_SECONDS, then retry",
        trace,
    )


class Guard:
    """Runs measurements one at a time; any thread may ask whether one is stuck.

    ``spare`` frees what the device holds beside the model in use, and is True when that is worth
    another try in batches as large as before; ``make_room`` frees all that can be.
    """

    def __init__(self, spare: Callable[[], bool], make_room: Callable[[], None]) -> None:
        self._spare = spare
        self._make_room = make_room
        self._running: tuple[float, float] | None = None

    def is_stuck(self) -> bool:
        """True when a measurement has taken twice its time limit.

        It did not come to its next batch, where the limit is looked at: nothing in this process
        can end it.
        """
        running = self._running
        return running is not None and time.monotonic() - running[0] > 2 * running[1]

    def measure(
        self,
        evaluator: Evaluator,
        asked: SubnetAsked,
        *,
        share: bool,
        limit_seconds: float,
        is_unwanted: Callable[[], bool],
    ) -> Measured | Problem:
        """What a subnet measures; when memory runs out, in batches of half the tokens, down to
        single rows.

        Activations that subnets ``share`` are used until then. An error of the evaluator's own
        passes through.

        Raises:
            EvaluationUnwantedError: ``is_unwanted`` said so.
        """
        gave_up = False
        with self._watched(limit_seconds, is_unwanted) as ask:
            while True:
                try:
                    return evaluator.measure(asked, ask, share=share)
                except MeasurementTimeoutError:
                    return timed_out(limit_seconds)
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise
                    out_of_memory = str(error)
                share = False
                if not gave_up and self._spare():
                    gave_up = True
                    log.warning("out of memory: activations that subnets share are dropped")
                    continue
                self._make_room()
                if not evaluator.halve_batches():
                    return fault(
                        "The device has too little memory",
                        "evaluation-failed",
                        "even one row at a time needs more memory than there is",
                        out_of_memory,
                    )
                log.warning("out of memory: batches are now of %d tokens", evaluator.token_budget)

    @contextmanager
    def _watched(
        self, limit_seconds: float, is_unwanted: Callable[[], bool]
    ) -> Iterator[Callable[[], bool]]:
        """What a measurement asks before every batch."""
        begun = time.monotonic()

        def ask() -> bool:
            if time.monotonic() - begun > limit_seconds:
                raise MeasurementTimeoutError(limit_seconds)
            return is_unwanted()

        self._running = begun, limit_seconds
        try:
            yield ask
        finally:
            self._running = None
