"""The cost of a subnet: the shapes it is computed from, and the report that comes of them.

A worker reads the shapes off a checkpoint once (``CostModel``); from then on every cost of every
subnet is plain arithmetic (``search.cost``) and needs neither the weights nor torch.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from elasticnas.api_schemas.fields import MAX_INT32
from elasticnas.api_schemas.spaces import SubnetAsked


class Cost(StrEnum):
    """What a subnet costs; all are better when smaller. ``docs/costs.md`` defines each."""

    GFLOPS = "gflops"
    PARAMS = "params"
    NONZERO_PARAMS = "nonzero_params"
    TRAINABLE_PARAMS = "trainable_params"
    TORCH_FLOPS = "torch_flops"


class Extent(BaseModel):
    """A length along a tensor axis: ``full``, or ``unit * choice`` where a dimension cuts it."""

    model_config = ConfigDict(frozen=True)

    full: PositiveInt
    dimension: str | None = None
    unit: PositiveInt = 1


class LinearShape(BaseModel):
    """One linear layer, ``rows`` outputs by ``columns`` inputs, and its LoRA branch if it has one.

    ``tokens`` says whether it runs on every token of a sequence or on one (pooler, classifier).
    ``layer`` is the encoder layer it belongs to, None for the head. ``zeros`` is there only when
    the stored weight holds zeros (a sparse base, as Shears trains on): ``zeros[r][c]`` counts them
    in the prefix block of r rows and c columns, for every r and c that a subnet can have.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    rows: Extent
    columns: Extent
    bias: bool
    tokens: Literal["sequence", "one"]
    layer: int | None = None
    rank: Extent | None = None
    trainable: bool = False
    zeros: dict[int, dict[int, int]] | None = None


class AttentionShape(BaseModel):
    """The two products of one layer's attention: ``2 * tokens^2 * width`` multiply-accumulates."""

    model_config = ConfigDict(frozen=True)

    layer: int
    width: Extent


class CostModel(BaseModel):
    """Everything the cost of any subnet of one super-network depends on.

    ``layer_params[i]`` are the parameters of encoder layer i outside its linear layers
    (LayerNorms); ``constant_params`` those outside the encoder layers and the head (embeddings).
    ``depth`` names the dimension that says how many of the first layers are kept.
    """

    model_config = ConfigDict(frozen=True)

    linears: tuple[LinearShape, ...]
    attentions: tuple[AttentionShape, ...]
    layer_params: tuple[int, ...]
    constant_params: int
    depth: str | None = None


class CostBreakdown(BaseModel):
    """Multiply-accumulates of one sequence, by where they are spent.

    ``linear``: the encoder's linear layers at the active widths, adapters merged. ``adapters``:
    what the LoRA branches would add if they were left unmerged. ``head``: pooler and classifier,
    one token each. ``attention``: the two attention products of each layer.
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
