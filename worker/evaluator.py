"""What a worker keeps warm to measure subnets with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from elasticnas.api_schemas.racing import Racing, Rival
from elasticnas.api_schemas.spaces import SubnetChoices
from elasticnas.search.races.course import Course
from elasticnas.supernet.forward.prefixes import PrefixCache
from elasticnas.supernet.measuring.examples import Examples
from elasticnas.supernet.measuring.measure import Lap, Measured, laps_of, measure
from elasticnas.supernet.methods.trained_first import TrainingFiles
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import Task
from elasticnas.tasks.settings import TaskSettings


@dataclass(frozen=True)
class SubnetAsked:
    """A subnet to measure, and the race it is in, if it is in one.

    ``training`` are the files of its training, where it is trained first.
    """

    subnet: SubnetChoices
    racing: Racing | None = None
    rival: Rival | None = None
    training: TrainingFiles = field(default_factory=TrainingFiles)


class Evaluator(Protocol):
    """Measures subnets under the conditions that it was made for."""

    @property
    def rows(self) -> int:
        """How many rows a subnet is measured on."""
        ...

    @property
    def tokens(self) -> int:
        """How many tokens a subnet is run on, without padding."""
        ...

    @property
    def token_budget(self) -> int:
        """Tokens of a batch, at most."""
        ...

    def measure(
        self, asked: SubnetAsked, is_unwanted: Callable[[], bool], *, share: bool
    ) -> Measured:
        """Measure a subnet; what subnets ``share`` is used only if so said.

        Raises:
            EvaluationUnwantedError: ``is_unwanted``, asked before every batch, said so.
            InputError: the subnet is none of this super-network, or the rows do not fit it.
        """
        ...

    def halve_batches(self) -> bool:
        """Make batches of half the tokens; False when each holds a single row already."""
        ...

    def place(self, subnet: SubnetChoices) -> tuple[int, ...]:
        """Where a subnet comes in the order in which each shares most with the one before."""
        ...


@dataclass
class SupernetEvaluator:
    """Slices subnets, and runs them on batches of at most ``token_budget`` tokens.

    In the laps of a ``course``, if races are run on it, else in a single one. Each lap has the
    prefixes of the subnets of ``supernet`` on just its batches.
    """

    supernet: Supernet
    task: Task
    examples: Examples
    token_budget: int
    cache: PrefixCache
    course: Course | None = None
    settings: TaskSettings | None = None
    laps: list[Lap] = field(init=False)

    def __post_init__(self) -> None:
        self._batch()

    @property
    def rows(self) -> int:
        """How many rows a subnet is measured on."""
        return len(self.examples)

    @property
    def tokens(self) -> int:
        """How many tokens a subnet is run on, without padding."""
        return self.examples.tokens

    def measure(
        self, asked: SubnetAsked, is_unwanted: Callable[[], bool], *, share: bool
    ) -> Measured:
        """See `Evaluator.measure`."""
        return measure(
            self.supernet,
            self.supernet.space.subnet(asked.subnet),
            self.laps,
            self.examples.labels,
            self.task,
            asked.racing,
            settings=self.settings,
            course=self.course,
            rival=asked.rival,
            is_unwanted=is_unwanted,
            share=share,
        )

    def halve_batches(self) -> bool:
        """Make batches of half the tokens; False when each holds a single row already."""
        batches = [batch for lap in self.laps for batch in lap.batches]
        if len(batches) == self.examples.most_batches:
            return False
        largest = max(batch.inputs["input_ids"].numel() for batch in batches)
        self.token_budget = min(self.token_budget, largest) // 2
        self._batch()
        return True

    def place(self, subnet: SubnetChoices) -> tuple[int, ...]:
        """By the choices of the first layers; the same for all where nothing is shared."""
        prefixes = self.laps[0].prefixes
        return () if prefixes is None else prefixes.place(subnet)

    def _batch(self) -> None:
        self.laps = laps_of(
            self.examples,
            self.course,
            self.supernet,
            token_budget=self.token_budget,
            cache=self.cache,
        )
