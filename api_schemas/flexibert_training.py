"""What one may set of the recipe that makes a heterogeneous super-network of a BERT."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, PositiveFloat, field_validator

from elasticnas.api_schemas.distillation import DistillationSettings
from elasticnas.api_schemas.training import Count, OptimiserSettings

OperationName = Literal["sdp", "wma", "conv", "dft", "dct"]


class FlexiBertSettings(OptimiserSettings):
    """How the model is widened by the weights of other ``operations``, and how all is trained.

    With ``teacher_epochs`` the model is first fine-tuned by itself, its rate falling linearly from
    ``teacher_learning_rate``, and its table of words learns nothing later on. With ``keep_head`` it
    is fine-tuned already. Otherwise it begins with a new classifier.

    Heads, neurons and channels are put into the order of what flows through them on
    ``calibration_rows``, and the new operations fitted there to the attention beside them, that of
    convolutions in ``warm_steps`` steps.

    A step trains the maximal subnet on the labels, and its students on these and on what the
    maximal one gives (``distillation``): ``whole_students`` that differ from it by their operation
    alone, which is the same in all layers, ``random_subnets`` and the minimal subnet. Students
    with all layers and channels learn the maximal one's hidden states as well, whose relative
    squared error counts ``hidden_weight`` times. What the pretrained model brought learns at
    ``learning_rate``, what is new at ``new_learning_rate``.

    Layers of half the neurons have up to ``ffn_layers`` feed-forward layers before the last. With
    ``one_hidden`` all layers of a subnet are equally wide. ``space`` is the content of a
    ``search_space.json``, in place of the default.
    """

    batch_size: Count = 16
    learning_rate: PositiveFloat = 1.5e-4
    new_learning_rate: PositiveFloat = 1.5e-3
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
    teacher_epochs: Annotated[float, Field(gt=0, le=10_000)] | None = 1.0
    teacher_learning_rate: PositiveFloat = 1e-4
    calibration_rows: Count = 512
    warm_steps: Count = 60
    whole_students: Annotated[int, Field(ge=0, le=16)] = 2
    random_subnets: Annotated[int, Field(ge=0, le=16)] = 1
    hidden_weight: Annotated[float, Field(ge=0)] = 0.0
    distillation: DistillationSettings = DistillationSettings(
        temperature=2.0, task_weight=0.3, distillation_weight=0.7
    )
    space: dict[str, JsonValue] | None = None

    @property
    def fine_tunes(self) -> bool:
        """Whether the model is fine-tuned by itself first."""
        return self.teacher_epochs is not None and not self.keep_head

    @field_validator("operations")
    @classmethod
    def _begins_with_attention(
        cls, operations: tuple[OperationName, ...]
    ) -> tuple[OperationName, ...]:
        if operations[0] != "sdp" or len(set(operations)) < len(operations):
            raise ValueError("operations begin with sdp, the model's own, and do not repeat")
        return operations
