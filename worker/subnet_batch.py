"""What evaluations and verifications have in common: a batch of subnets, one after the other."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar

from elasticnas.api_schemas.messages import (
    EvaluateSubnets,
    SubnetsDeclined,
    SubnetToEvaluate,
)
from elasticnas.api_schemas.problems import Problem
from elasticnas.supernet.evaluation import EvaluationUnwantedError
from elasticnas.worker.failures import as_problem
from elasticnas.worker.guard import time_limit
from elasticnas.worker.halts import HaltWatch
from elasticnas.worker.handler import Handler, Tools
from elasticnas.worker.isolation import Answer, Measurement, measure_apart
from elasticnas.worker.model_cache import CachedDataset, CachedSupernet
from elasticnas.worker.rows import count_rows

log = logging.getLogger(__name__)

BatchMessage = TypeVar("BatchMessage", bound=EvaluateSubnets)
Found = TypeVar("Found")
Loaded = tuple[CachedSupernet, CachedDataset] | Problem


class SubnetBatchHandler(Handler[BatchMessage]):
    """Takes the subnets of a message one by one, and leaves off when its search is halted.

    ``suffix`` tells the deliveries of one kind of message from those of another.
    """

    suffix: ClassVar[str] = ""
    verifies: ClassVar[bool] = False

    def __init__(self, tools: Tools, message: BatchMessage) -> None:
        super().__init__(tools, message)
        self.watch = HaltWatch(tools.signals, message.search_id)

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

    def load(self) -> Loaded:
        """The model and the rows of the message."""
        models = self.tools.models
        try:
            held = models.supernet(self.message.supernet_digest, self.message.precision)
            return held, models.dataset(held, self.message)
        except Exception as error:
            return as_problem(error, "The measurement could not start", "evaluation-failed")

    def guarded(
        self,
        work: Callable[[Callable[[], bool], bool], Found],
        dataset: CachedDataset,
        *,
        share: bool = False,
    ) -> Found | Problem:
        """What ``work`` measures; see `Guard.measure`."""
        return self.tools.guard.measure(
            work,
            dataset,
            share=share,
            limit_seconds=self._time_limit(len(dataset.examples)),
            is_unwanted=self.watch.has_ended,
        )

    def measure_apart(self, item: SubnetToEvaluate) -> Answer:
        """What a subnet measures in a process of its own, for which all memory is given back."""
        message, compute = self.message, self.tools.compute
        log.warning("search %s: workers died over %d", message.search_id, item.number)
        self.tools.models.keep_only(None)
        with (
            self.tools.models.checkpoint(message.supernet_digest) as folder,
            self.tools.blobs.lease(message.dataset_digest) as rows,
        ):
            return measure_apart(
                Measurement(
                    checkpoint=folder,
                    dataset=rows,
                    task=message.task,
                    max_length=message.max_length,
                    split=message.split,
                    racing=message.racing,
                    pilots=message.pilots,
                    subnet=item.subnet,
                    rival=message.rival(item),
                    verifies=self.verifies,
                    device=str(compute.device),
                    precision=message.precision,
                    token_budget=compute.token_budget,
                    limit_seconds=self._time_limit(count_rows(rows)),
                ),
                self.watch.has_ended,
            )

    def _time_limit(self, rows: int) -> float:
        setting = self.tools.compute.timeout_seconds
        return time_limit(setting, rows=rows, max_length=self.message.max_length)
