"""What one may set of the recipe that makes a heterogeneous super-network of a BERT."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, PositiveFloat, field_validator

from elasticnas.api_schemas.distillation import DistillationSettings
from elasticnas.api_schemas.training import Count, OptimiserSettings

OperationName = Literal["sdp", "wma", "conv", "dft", "dct"]


class FlexiBertSettings(OptimiserSettings):
    """How the model is widened by the weights of other ``operations``, and how all is trained.

    Heads, neurons and channels are put into the order of what flows through them on
    ``calibration_rows``, and the new operations fitted there to the attention beside them, that of
    convolutions in ``warm_steps`` steps. ``keep_head`` keeps the classifier of a fine-tuned model;
    otherwise it begins anew.

    A step trains the maximal subnet on the labels, and ``random_subnets`` others and the minimal
    one on these and on what the maximal one gives (``distillation``). What the pretrained model
    brought learns at ``learning_rate``, what is new at ``new_learning_rate``.

    Layers of half the neurons have up to ``ffn_layers`` feed-forward layers before the last. With
    ``one_hidden`` all layers of a subnet are equally wide. ``space`` is the content of a
    ``search_space.json``, in place of the default.
    """

    learning_rate: PositiveFloat = 5e-5
    new_learning_rate: PositiveFloat = 5e-4
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    max_gradient_norm: PositiveFloat | None = 1.0
    dropout: bool = False
    group_by_length: bool = True
    operations: Annotated[tuple[OperationName, ...], Field(min_length=1)] = (
        "sdp",
        "wma",
        "conv",
        "dft",
        "dct",
    )
    ffn_layers: Annotated[int, Field(ge=1, le=3)] = 2
    one_hidden: bool = True
    keep_head: bool = False
    calibration_rows: Count = 512
    warm_steps: Count = 200
    random_subnets: Annotated[int, Field(ge=0, le=16)] = 1
    distillation: DistillationSettings = DistillationSettings(
        temperature=2.0, task_weight=0.3, distillation_weight=0.7
    )
    space: dict[str, JsonValue] | None = None

    @field_validator("operations")
    @classmethod
    def _begins_with_attention(
        cls, operations: tuple[OperationName, ...]
    ) -> tuple[OperationName, ...]:
        if operations[0] != "sdp" or len(set(operations)) < len(operations):
            raise ValueError("operations begin with sdp, the model's own, and do not repeat")
        return operations
