"""What evaluations and verifications have in common: a batch of subnets, one after the other."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, TypeVar

from elasticnas.api_schemas.messages import (
    EvaluateSubnets,
    SubnetsDeclined,
    SubnetToEvaluate,
)
from elasticnas.api_schemas.problems import Problem
from elasticnas.supernet.measuring.measure import EvaluationUnwantedError, Measured
from elasticnas.supernet.methods.trained_first import Start, TrainingFiles
from elasticnas.supernet.training.state import STATE_FILE
from elasticnas.worker.deliveries import ATTEMPTS
from elasticnas.worker.evaluator import Evaluator, SubnetAsked
from elasticnas.worker.failures import as_problem
from elasticnas.worker.guard import time_limit
from elasticnas.worker.halts import HaltWatch
from elasticnas.worker.handler import Handler, Tools
from elasticnas.worker.isolation import Measurement, measure_apart

log = logging.getLogger(__name__)

BatchMessage = TypeVar("BatchMessage", bound=EvaluateSubnets)


class SubnetBatchHandler(Handler[BatchMessage]):
    """Takes the subnets of a message one by one, and leaves off when its search is halted.

    ``suffix`` tells the deliveries of one kind of message from those of another.
    """

    suffix: ClassVar[str] = ""
    verifies: ClassVar[bool] = False

    def __init__(self, tools: Tools, message: BatchMessage) -> None:
        super().__init__(tools, message)
        self.watch = HaltWatch(tools.signals, message.search_id)
        self.evaluator: Evaluator | Problem

    @abstractmethod
    def begin(self, wanted: list[SubnetToEvaluate]) -> list[SubnetToEvaluate]:
        """Load what all subnets need; the subnets in the order in which to take them."""

    @abstractmethod
    def take(self, item: SubnetToEvaluate, attempt: int) -> None:
        """Measure a subnet, and send or keep its result.

        Raises:
            EvaluationUnwantedError: nobody waits for results of this search any more.
        """

    def leave(self) -> None:
        """Send the results that were kept."""

    def handle(self) -> None:
        """Take every subnet that no worker has answered for."""
        wanted = [
            item
            for item in self.message.subnets
            if not self.tools.deliveries.is_finished(self.delivery(item.number, item.attempt))
        ]
        if self.watch.halted is not None:
            self._decline(wanted)
        elif wanted:
            search, suffix = self.message.search_id, self.suffix
            jobs = tuple(f"{search}/{item.number}{suffix}" for item in wanted)
            with self.tools.activity.at(jobs):
                self._take_each(wanted)

    def _take_each(self, wanted: list[SubnetToEvaluate]) -> None:
        wanted = self.begin(wanted)
        for position, item in enumerate(wanted):
            if self.watch.halted is not None:
                self.leave()
                self._decline(wanted[position:])
                return
            delivery = self.delivery(item.number, item.attempt)
            try:
                self.take(item, self.tools.deliveries.begin(delivery))
            except EvaluationUnwantedError:
                self.tools.deliveries.finish(delivery)
                return
        self.leave()

    def _decline(self, items: Sequence[SubnetToEvaluate]) -> None:
        """Leave what was not begun to a later message; what nobody wants any more is dropped."""
        if items and not self.watch.has_ended():
            self.tools.send(
                SubnetsDeclined(
                    search_id=self.message.search_id,
                    worker=self.tools.worker,
                    subnets=tuple(items),
                    verifies=self.verifies,
                )
            )

    def delivery(self, number: int, attempt: int) -> str:
        """What attempts at this subnet are counted by."""
        message = self.message
        return f"{message.search_id}/{number}/{attempt}/{message.revision}{self.suffix}"

    # -- measuring ---------------------------------------------------------------------------

    def load(self) -> None:
        """Have ready what measures the subnets of the message."""
        conditions, pilots = self.message.conditions, self.message.pilots
        try:
            self.evaluator = self.tools.models.evaluator(conditions, pilots)
        except Exception as error:
            title, problem_type = "The measurement could not start", "evaluation-failed"
            self.evaluator = as_problem(error, title, problem_type)

    def measure(self, asked: SubnetAsked, attempt: int) -> Measured | Problem:
        """What a subnet measures; the last attempt is made in a process of its own.

        What died with a worker before is measured in as little memory as can be.

        Raises:
            EvaluationUnwantedError: nobody waits for it any more.
        """
        if isinstance(self.evaluator, Problem):
            return self.evaluator
        limit = time_limit(
            self.tools.compute.timeout_seconds,
            tokens=max(
                self.evaluator.tokens,
                self.evaluator.rows * self.message.conditions.max_length,
            ),
        )
        if attempt >= ATTEMPTS:
            return self._measure_apart(asked, limit)
        return self.tools.guard.measure(
            self.evaluator,
            asked,
            share=attempt == 1 and not self.verifies,
            limit_seconds=limit,
            is_unwanted=self.watch.has_ended,
        )

    @contextmanager
    def training_files(self, item: SubnetToEvaluate) -> Iterator[TrainingFiles]:
        """What the training of a subnet finds and leaves, there until the block ends."""
        with ExitStack() as stack:
            lease = self.tools.blobs.lease
            trained = None if item.trained is None else stack.enter_context(lease(item.trained))
            start = None
            if item.start is not None and trained is None:
                tensors = stack.enter_context(lease(item.start.tensors))
                start = Start(tensors, item.start.subnet, item.start.layers)
            files = TrainingFiles(start, trained)
            rung = item.rung
            if self._keeps or rung is not None:
                self.tools.scratch.mkdir(parents=True, exist_ok=True)
                folder = Path(stack.enter_context(TemporaryDirectory(dir=self.tools.scratch)))
                if rung is not None and rung.state is not None:
                    (resumed := folder / "resumed").mkdir()
                    (resumed / STATE_FILE).symlink_to(
                        stack.enter_context(lease(rung.state)).resolve()
                    )
                    files = replace(files, resumed=resumed)
                if rung is not None and rung.until is not None:
                    (state := folder / "state").mkdir()
                    files = replace(files, until=rung.until, state=state)
                elif self._keeps and trained is None:
                    files = replace(files, kept=folder / "trained")
            yield files

    @property
    def _keeps(self) -> bool:
        """Whether what subnets have learnt is kept."""
        training = self.message.conditions.fine_tuning
        return training is not None and training.keeps_weights and not self.verifies

    def _measure_apart(self, asked: SubnetAsked, limit: float) -> Measured | Problem:
        """For this process all memory is given back."""
        message, compute = self.message, self.tools.compute
        fine_tuning = message.conditions.fine_tuning
        log.warning("search %s: workers died over %s", message.search_id, asked.subnet)
        self.tools.models.keep_only(None)
        with (
            self.tools.models.checkpoint(message.conditions.supernet) as checkpoint,
            self.tools.blobs.lease(message.conditions.dataset) as dataset,
            nullcontext()
            if fine_tuning is None
            else self.tools.blobs.lease(fine_tuning.rows) as training,
        ):
            measurement = Measurement(
                checkpoint=checkpoint,
                dataset=dataset,
                training=training,
                conditions=message.conditions,
                pilots=message.pilots,
                asked=asked,
                device=str(compute.device),
                token_budget=compute.token_budget,
                memory_bytes=self.tools.models.memory_bytes,
                limit_seconds=limit,
            )
            return measure_apart(measurement, self.watch.has_ended)
