"""What one may set of Flexora's recipe."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, PositiveFloat, field_validator, model_validator

from elasticnas.api_schemas.training import Count, Sampling, TrainingSettings


class Groups(StrEnum):
    """Which adapters share a gate."""

    LAYER = "layer"
    MODULE = "module"
    """None: each has one of its own."""


class Order(StrEnum):
    """Which derivative moves the gates."""

    FIRST = "first"
    """With the adapters held fixed once they are learnt: what the released code does."""
    UNROLLED = "unrolled"
    """Through the inner steps, as the paper's formula has it."""


class OuterRows(StrEnum):
    """Which rows of the dataset the gates learn from."""

    HELD_OUT = "held-out"
    """A random share, another in every repeat, from which adapters never learn."""
    LAST = "last"
    """The last share of the dataset's rows, from which adapters never learn."""
    TRAINING = "training"
    """The very rows that adapters learn from. A gate then says what fits, not what helps."""


class Repeats(StrEnum):
    """What differs between repeats, beside the order of rows and the fresh adapters."""

    SPLITS = "splits"
    """Which rows are held out, where they are random."""
    BOOTSTRAP = "bootstrap"
    """That, and both parts' rows, which are drawn with replacement."""


class Rule(StrEnum):
    """Which groups of a repeat are kept."""

    PHANTOM = "phantom"
    """Those above the gate of an adapter that is not there: none, if none helps. Ours."""
    MEAN = "mean"
    """Those above the mean, as published."""
    POSITIVE = "positive"
    """Those above 0, as the released code has it."""
    TOP = "top"
    """So many of the largest."""


class Head(StrEnum):
    """What becomes of the head of a classifier or of spans; language models keep theirs."""

    NEW = "new"
    KEPT = "kept"
    """The base's own, which learns on."""
    FROZEN = "frozen"
    """The base's own, as it is."""


class FineTuned(StrEnum):
    """Which adapters the second stage trains."""

    SELECTED = "selected"
    ALL = "all"
    """All of them, to be searched: which are on is left to a search that the gates warm up."""


class StartFrom(StrEnum):
    """The adapters that the second stage begins with."""

    SCRATCH = "scratch"
    SELECTION = "selection"
    """Those of the repeat of the lowest outer loss, with their gates in them."""


class FlexoraSettings(TrainingSettings):
    """How groups of adapters are selected, and those that are kept fine-tuned.

    Every one of ``repeats`` makes ``select_steps`` turns: ``inner_steps`` of AdamW on the adapters
    and the head, at ``select_learning_rate``, then one on the gates, at ``gate_learning_rate``, by
    ``outer_batch_size`` of the outer rows, which are ``outer_share`` of the dataset's. The rate is
    dual averaging's with a phantom, 0.2 by default, and Adam's without, 0.02. There is no dropout
    in it. A group is selected that ``rule`` keeps in more than half of the repeats; by `Rule.TOP`,
    the ``top`` that are kept most often.

    The optimiser's settings, ``sampling`` and ``dropout`` are of the second stage, which learns
    from all rows. ``ranks`` are the choices of every group that it trains, None are on and off.
    ``precision`` and LoRA's settings are of both.
    """

    sampling: Sampling = Sampling.MAXIMAL
    groups: Groups = Groups.LAYER
    order: Order = Order.FIRST
    outer: OuterRows = OuterRows.HELD_OUT
    outer_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    repeats: Annotated[int, Field(ge=1, le=100)] = 3
    repeat_by: Repeats = Repeats.SPLITS
    select_steps: Count = 200
    inner_steps: Annotated[int, Field(ge=1, le=100)] = 1
    select_batch_size: Count = 16
    outer_batch_size: Count = 64
    select_learning_rate: PositiveFloat = 1e-3
    gate_learning_rate: PositiveFloat | None = None
    rule: Rule = Rule.PHANTOM
    margin: Annotated[float, Field(ge=0)] = 0.01
    top: Count | None = None
    head: Head = Head.NEW
    finetuned: FineTuned = FineTuned.SELECTED
    start: StartFrom = StartFrom.SCRATCH

    @model_validator(mode="after")
    def _check_top(self) -> Self:
        if (self.rule is Rule.TOP) is not (self.top is not None):
            raise ValueError(f"top says how many the rule {Rule.TOP} keeps: give both, or neither")
        return self

    @field_validator("space")
    @classmethod
    def _check_space(cls, space: object) -> object:
        if space is not None:
            raise ValueError("the selection makes the space: leave it out")
        return space

    @property
    def has_phantom(self) -> bool:
        """Whether there is a gate for an adapter that is not there."""
        return self.rule in (Rule.PHANTOM, Rule.TOP)

    @property
    def gate_rate(self) -> float:
        """The ``gate_learning_rate``, or what it is by default."""
        return self.gate_learning_rate or (0.2 if self.has_phantom else 0.02)
