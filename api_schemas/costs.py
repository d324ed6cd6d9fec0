"""The cost of a subnet: the terms it is a sum of, and the report that comes of them.

A worker reads the terms off a checkpoint once (``CostModel``); from then on every cost of every
subnet is plain arithmetic (``search.cost``) and needs neither the weights nor torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, model_validator

from elasticnas.api_schemas.fields import MAX_INT32, Choice
from elasticnas.api_schemas.spaces import Condition, SubnetAsked, SubnetChoices


class Cost(StrEnum):
    """What a subnet costs; all are better when smaller. ``docs/costs.md`` defines each."""

    GFLOPS = "gflops"
    PARAMS = "params"
    NONZERO_PARAMS = "nonzero_params"
    TRAINABLE_PARAMS = "trainable_params"
    TORCH_FLOPS = "torch_flops"
    GFLOPS_PER_TOKEN = "gflops_per_token"
    WEIGHT_BYTES = "weight_bytes"
    KV_BYTES = "kv_bytes"
    ADAPTER_GFLOPS = "adapter_gflops"
    ADAPTER_BYTES = "adapter_bytes"


TITLES: Mapping[str, str] = {
    Cost.GFLOPS: "GFLOPs",
    Cost.PARAMS: "parameters",
    Cost.NONZERO_PARAMS: "non-zero parameters",
    Cost.TRAINABLE_PARAMS: "trainable parameters",
    Cost.TORCH_FLOPS: "floating-point operations",
    Cost.GFLOPS_PER_TOKEN: "GFLOPs per token",
    Cost.WEIGHT_BYTES: "bytes of weights",
    Cost.KV_BYTES: "bytes of keys and values",
    Cost.ADAPTER_GFLOPS: "GFLOPs of unmerged adapters",
    Cost.ADAPTER_BYTES: "bytes of adapters",
}
"""The costs as a reader calls them."""


class Count(StrEnum):
    """What a term adds to: multiply-accumulates by where they are spent, parameters, or bytes.

    ``kv_bytes`` are those of the keys and values that a model keeps of a sequence to go on with it.
    """

    LINEAR = "linear"
    ADAPTERS = "adapters"
    HEAD = "head"
    ATTENTION = "attention"
    PARAMS = "params"
    NONZERO_PARAMS = "nonzero_params"
    TRAINABLE_PARAMS = "trainable_params"
    WEIGHT_BYTES = "weight_bytes"
    KV_BYTES = "kv_bytes"
    ADAPTER_BYTES = "adapter_bytes"


MACS = (Count.LINEAR, Count.ADAPTERS, Count.HEAD, Count.ATTENTION)
"""Multiply-accumulates, by where they are spent."""

BY_LENGTH = (*MACS, Count.KV_BYTES)
"""The counts that grow with the length of a sequence."""

_NEEDED = {
    Cost.GFLOPS_PER_TOKEN: Count.KV_BYTES,
    Cost.WEIGHT_BYTES: Count.WEIGHT_BYTES,
    Cost.KV_BYTES: Count.KV_BYTES,
    Cost.ADAPTER_GFLOPS: Count.ADAPTER_BYTES,
    Cost.ADAPTER_BYTES: Count.ADAPTER_BYTES,
}
"""What must be counted for a cost to be known; all others always are."""


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
    that the term ``counts`` as, where all conditions ``when`` hold; to multiply-accumulates and to
    the bytes of keys and values it is added times the sequence length to the power of ``tokens``.
    ``layer`` is the one that it is of, None where it is of none, or nobody said.
    """

    model_config = ConfigDict(frozen=True)

    coefficient: int
    counts: tuple[Count, ...]
    amounts: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    tokens: Literal[0, 1, 2] = 0
    when: tuple[Condition, ...] = ()
    layer: NonNegativeInt | None = None

    @cached_property
    def dimensions(self) -> frozenset[str]:
        """All that the term depends on."""
        axes = (axis.dimension for table in self.tables for axis in table.axes)
        return frozenset((*self.amounts, *axes, *(each.dimension for each in self.when)))


class CostModel(BaseModel):
    """Everything the cost of any subnet of one super-network depends on: a sum of terms."""

    model_config = ConfigDict(frozen=True)

    terms: tuple[Term, ...]

    @cached_property
    def costs(self) -> tuple[Cost, ...]:
        """The costs that are known.

        A model that keeps no keys and values generates nothing. What a worker of an earlier version
        reported lacks the terms that were not counted then.
        """
        counted = {count for term in self.terms for count in term.counts}
        return tuple(cost for cost in Cost if _NEEDED.get(cost) in {None, *counted})


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
    gflops_per_token: float | None = Field(
        default=None,
        description="1e9 multiply-accumulates for the last of max_length tokens, when keys and "
        "values of those before it are kept; null for a model that generates nothing",
    )
    weight_bytes: int | None = Field(
        default=None,
        description="params, each with the bytes it has in the checkpoint; null for a "
        "super-network that an earlier version registered",
    )
    kv_bytes: int | None = Field(
        default=None,
        description="keys and values of one sequence of max_length tokens, in the checkpoint's "
        "dtype; null for a model that keeps none",
    )
    adapter_gflops: float | None = Field(
        default=None,
        description="1e9 multiply-accumulates that LoRA adds where it is not merged; null for a "
        "super-network without adapters, or one that an earlier version registered",
    )
    adapter_bytes: int | None = Field(
        default=None,
        description="active adapter weights, each with the bytes it has in the checkpoint; null as "
        "adapter_gflops is",
    )
    breakdown: CostBreakdown
    max_length: int

    def values(self) -> dict[str, int | float]:
        """The costs that a search can name as objective or constraint."""
        values = ((cost.value, getattr(self, cost.value)) for cost in Cost)
        return {name: value for name, value in values if value is not None}


MAX_PRICED = 1000
"""The most subnets that one request prices."""


class CostsRequest(BaseModel):
    """Body of ``POST /v1/supernets/{id}/costs``: many subnets, each as in a `CostRequest`."""

    model_config = ConfigDict(extra="forbid")

    subnets: Annotated[list[SubnetAsked], Field(min_length=1, max_length=MAX_PRICED)]
    max_length: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = None
    per_layer: bool = Field(default=False, description="also what each layer costs")


class LayerCost(BaseModel):
    """One layer of a subnet."""

    layer: int
    runs: dict[str, bool] = Field(description="whether its attention and its ffn are there")
    choices: SubnetChoices = Field(description="of the dimensions that belong to it")
    share: dict[str, float] = Field(
        description="of each part with amounts: what was chosen, as a share of the largest choice"
    )
    cost: dict[str, int | float]


class PricedSubnet(BaseModel):
    """A subnet and what it costs; ``layers`` and ``rest`` together are the whole."""

    subnet: SubnetChoices
    cost: CostReport
    layers: list[LayerCost] | None = None
    rest: dict[str, int | float] | None = Field(
        default=None,
        description="what belongs to no layer, such as embeddings and the head; of a super-network "
        "that an earlier version registered also biases and norms that no choice changes",
    )


class CostsRead(BaseModel):
    """The costs of subnets, in the order in which they were asked for."""

    max_length: int
    items: list[PricedSubnet]


class CostRequest(BaseModel):
    """Body of ``POST /v1/supernets/{id}/cost``. A dimension left out takes its largest choice."""

    model_config = ConfigDict(extra="forbid")

    subnet: SubnetAsked = Field(default_factory=dict)
    max_length: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = None
