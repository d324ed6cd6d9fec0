"""What every family reads of a ``config.json``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from elasticnas.api_schemas.fields import FileText

Activation = Literal[
    "gelu",
    "gelu_10",
    "gelu_fast",
    "gelu_new",
    "gelu_python",
    "gelu_pytorch_tanh",
    "gelu_accurate",
    "hardswish",
    "leaky_relu",
    "linear",
    "mish",
    "quick_gelu",
    "relu",
    "relu2",
    "relu6",
    "sigmoid",
    "silu",
    "swish",
    "tanh",
]
"""Transformers' activations that have no parameters of their own."""


def _as_text(name: object) -> object:
    """A class may be named by a number: its labels were numbers when it was trained."""
    return str(name) if name is None or isinstance(name, int | float) else name


class ConfigFields(BaseModel):
    """The fields that all families have; a family's options say of all others what they are."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    meant_nulls: ClassVar[tuple[str, ...]] = ()
    """Fields whose null is a value, and does not stand for the family's default."""

    vocab_size: int = Field(gt=0, le=2_000_000)
    max_position_embeddings: int = Field(gt=0, le=1_000_000)
    pad_token_id: int | None = Field(default=None, ge=0)
    id2label: dict[int, Annotated[FileText, BeforeValidator(_as_text)]] | None = None
    problem_type: (
        Literal["regression", "single_label_classification", "multi_label_classification"] | None
    ) = None
    architectures: list[str] | None = None
    tokenizer_class: str | None = None
    initializer_range: float = Field(default=0.02, ge=0, le=1)
