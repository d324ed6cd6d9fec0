"""The cost of a subnet: the terms it is a sum of, and the report that comes of them.

A worker reads the terms off a checkpoint once (``CostModel``); from then on every cost of every
subnet is plain arithmetic (``search.cost``) and needs neither the weights nor torch.
"""

from __future__ import annotations

import math
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from elasticnas.api_schemas.fields import MAX_INT32, Choice
from elasticnas.api_schemas.spaces import Condition, SubnetAsked


class Cost(StrEnum):
    """What a subnet costs; all are better when smaller. ``docs/costs.md`` defines each."""

    GFLOPS = "gflops"
    PARAMS = "params"
    NONZERO_PARAMS = "nonzero_params"
    TRAINABLE_PARAMS = "trainable_params"
    TORCH_FLOPS = "torch_flops"


class Count(StrEnum):
    """What a term adds to: multiply-accumulates by where they are spent, or parameters."""

    LINEAR = "linear"
    ADAPTERS = "adapters"
    HEAD = "head"
    ATTENTION = "attention"
    PARAMS = "params"
    NONZERO_PARAMS = "nonzero_params"
    TRAINABLE_PARAMS = "trainable_params"


MACS = (Count.LINEAR, Count.ADAPTERS, Count.HEAD, Count.ATTENTION)
"""The counts that grow with the length of a sequence."""


class Axis(BaseModel):
    """A dimension, and the choices of it that a table is laid out by."""

    model_config = ConfigDict(frozen=True)

    dimension: str
    choices: tuple[Choice, ...]


class Table(BaseModel):
    """A whole number for every combination of choices of a few dimensions.

    ``values`` are in row-major order: the last axis varies fastest.
    """

    model_config = ConfigDict(frozen=True)

    axes: tuple[Axis, ...]
    values: tuple[int, ...]

    @model_validator(mode="after")
    def _is_full(self) -> Self:
        size = math.prod(len(axis.choices) for axis in self.axes)
        if len(self.values) != size:
            raise ValueError(f"a table of this shape has {size} values, found {len(self.values)}")
        return self

    @cached_property
    def places(self) -> tuple[tuple[str, dict[Choice, int]], ...]:
        """How far each choice of each dimension moves a value's place."""
        strides, stride = [], 1
        for axis in reversed(self.axes):
            places = {choice: stride * i for i, choice in enumerate(axis.choices)}
            strides.append((axis.dimension, places))
            stride *= len(axis.choices)
        return tuple(strides)


class Term(BaseModel):
    """A product: ``coefficient``, the chosen amount of each of ``amounts``, an entry of each table.

    ``amounts`` are dimensions with whole numbers for choices. The product is added to everything
    that the term ``counts`` as, where all conditions ``when`` hold; to multiply-accumulates it is
    added times the sequence length to the power of ``tokens``.
    """

    model_config = ConfigDict(frozen=True)

    coefficient: int
    counts: tuple[Count, ...]
    amounts: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    tokens: Literal[0, 1, 2] = 0
    when: tuple[Condition, ...] = ()

    @cached_property
    def dimensions(self) -> frozenset[str]:
        """All that the term depends on."""
        axes = (axis.dimension for table in self.tables for axis in table.axes)
        return frozenset((*self.amounts, *axes, *(each.dimension for each in self.when)))


class CostModel(BaseModel):
    """Everything the cost of any subnet of one super-network depends on: a sum of terms."""

    model_config = ConfigDict(frozen=True)

    terms: tuple[Term, ...]


class CostBreakdown(BaseModel):
    """Multiply-accumulates of one sequence, by where they are spent.

    ``linear``: the linear layers of the blocks at the active widths, adapters merged. ``adapters``:
    what the LoRA branches would add if they were left unmerged. ``head``: what is behind the
    blocks, such as pooler and classifier (one token each) or a language model's head (every token).
    ``attention``: the two attention products of each layer.
    """

    linear: int
    adapters: int
    head: int
    attention: int


class CostReport(BaseModel):
    """The cost of one subnet at batch size 1 and ``max_length`` tokens."""

    gflops: float = Field(description="1e9 multiply-accumulates, attention counted, LoRA merged")
    params: int = Field(description="parameters of the exported subnet, embeddings included")
    nonzero_params: int = Field(
        description="non-zero base weights plus active adapter weights, unmerged"
    )
    trainable_params: int = Field(description="active adapter weights plus the head's trained ones")
    torch_flops: int = Field(description="as torch.utils.flop_counter counts: 2 per multiply-add")
    breakdown: CostBreakdown
    max_length: int

    def values(self) -> dict[str, int | float]:
        """The costs that a search can name as objective or constraint."""
        return {cost.value: getattr(self, cost.value) for cost in Cost}


class CostRequest(BaseModel):
    """Body of ``POST /v1/supernets/{id}/cost``. A dimension left out takes its largest choice."""

    model_config = ConfigDict(extra="forbid")

    subnet: SubnetAsked = Field(default_factory=dict)
    max_length: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = None
