"""BERT whose layers have operations and widths of their own (`operations.model`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from elasticnas.supernet.checkpoint.options import honoured, without_effect
from elasticnas.supernet.families.bert import BERT, BertFields
from elasticnas.supernet.families.family import HeadKind, TaskHead
from elasticnas.supernet.operations import OPERATIONS
from elasticnas.supernet.operations.config import FlexiBertConfig
from elasticnas.supernet.operations.model import FlexiBertForSequenceClassification

Width = Annotated[int, Field(gt=0, le=65_536)]


class LayerFields(BaseModel):
    """What one layer is made of; see `FlexiBertConfig`."""

    model_config = ConfigDict(extra="forbid")

    operations: Annotated[
        tuple[Literal["sdp", "wma", "conv", "dft", "dct"], ...], Field(min_length=1)
    ]
    hidden: Width
    reads: Width | None = None
    heads: Annotated[int, Field(gt=0, le=1024)]
    head_size: Annotated[int, Field(gt=0, le=1024)]
    kernel: Annotated[int, Field(gt=0, le=255, multiple_of=1)] = 9
    ffn: Annotated[int, Field(gt=0, le=1_048_576)]
    middle: Annotated[int, Field(ge=0, le=65_536)] = 0
    third: Annotated[int, Field(ge=0, le=65_536)] = 0


class FlexiBertFields(BertFields):
    """The fields of its ``config.json``."""

    layers: Annotated[list[LayerFields], Field(min_length=1, max_length=512)]

    @model_validator(mode="after")
    def _layers_fit(self) -> Self:
        if len(self.layers) != self.num_hidden_layers:
            raise ValueError(
                f"layers has {len(self.layers)} entries, num_hidden_layers is "
                f"{self.num_hidden_layers}"
            )
        widths = [self.hidden_size, *(layer.hidden for layer in self.layers)]
        for place, layer in enumerate(self.layers):
            before = widths[place] if place else layer.hidden
            if (layer.reads or layer.hidden) != before:
                raise ValueError(f"layer {place} does not read the {before} channels before it")
            if layer.kernel % 2 == 0:
                raise ValueError(f"the kernel of layer {place} must be odd")
        return self


_FLEXIBERT_LISTS = (
    "attention_type",
    "attention_heads_list",
    "hidden_dim_list",
    "ff_dim_list",
    "similarity_list",
)

FLEXIBERT = replace(
    BERT,
    model_type="flexibert",
    config_class=FlexiBertConfig,
    fields=FlexiBertFields,
    options={
        **BERT.options,
        "layers": honoured("what each layer is made of"),
        **{name: without_effect("layers says it") for name in _FLEXIBERT_LISTS},
    },
    task_heads=(
        TaskHead(
            HeadKind.CLASSIFIER,
            FlexiBertForSequenceClassification,
            logits="classifier",
            one_token=("bert.pooler.dense", "classifier"),
            trained=("classifier",),
            reads_first_token=True,
        ),
    ),
    head_count=None,
    head_width=None,
    halves={},
    dropped_out=None,
    after_attention=None,
    operations=OPERATIONS,
)
