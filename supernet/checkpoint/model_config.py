"""A user's ``config.json``, through a schema of our own.

Transformers has run code named in a config.json (CVE-2026-4372), so the file is never handed to it:
the fields below are read, checked and put into a fresh config of an allowed architecture.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from transformers import PretrainedConfig

from api_schemas.problems import InputError
from supernet.architectures import Architecture, architecture_of
from supernet.checkpoint.json_file import read_object, validated


class _Fields(BaseModel):
    """What the supported architectures have in common. Unknown fields are dropped."""

    model_config = ConfigDict(extra="ignore")

    vocab_size: int = Field(gt=0, le=2_000_000)
    max_position_embeddings: int = Field(gt=0, le=1_000_000)
    pad_token_id: int | None = Field(default=None, ge=0)
    id2label: dict[int, str] | None = None


class _BertFields(_Fields):
    hidden_size: int = Field(gt=0, le=65_536)
    num_hidden_layers: int = Field(gt=0, le=512)
    num_attention_heads: int = Field(gt=0, le=1024)
    intermediate_size: int = Field(gt=0, le=1_048_576)
    hidden_act: Literal["gelu", "relu", "silu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh"] = (
        "gelu"
    )
    hidden_dropout_prob: float = Field(default=0.1, ge=0, le=1)
    attention_probs_dropout_prob: float = Field(default=0.1, ge=0, le=1)
    classifier_dropout: float | None = Field(default=None, ge=0, le=1)
    type_vocab_size: int = Field(default=2, gt=0, le=1024)
    layer_norm_eps: float = Field(default=1e-12, gt=0, le=1)
    position_embedding_type: Literal["absolute"] = "absolute"
    is_decoder: Literal[False] = False


class _DistilBertFields(_Fields):
    dim: int = Field(gt=0, le=65_536)
    n_layers: int = Field(gt=0, le=512)
    n_heads: int = Field(gt=0, le=1024)
    hidden_dim: int = Field(gt=0, le=1_048_576)
    activation: Literal["gelu", "relu", "silu", "gelu_new"] = "gelu"
    dropout: float = Field(default=0.1, ge=0, le=1)
    attention_dropout: float = Field(default=0.1, ge=0, le=1)
    seq_classif_dropout: float = Field(default=0.2, ge=0, le=1)


_FIELDS: dict[str, type[_Fields]] = {
    "bert": _BertFields,
    "roberta": _BertFields,
    "distilbert": _DistilBertFields,
}
_NOT_IN_CONFIG = {"position_embedding_type", "id2label"}


def read_config(folder: Path) -> tuple[Architecture, PretrainedConfig, tuple[str, ...] | None]:
    """The architecture, a fresh config, and the label names in order if the file has real ones.

    The number of labels is not taken from the file but from the head's tensor, later.

    Raises:
        InputError: no config.json, an unsupported architecture, or a field out of bounds.
    """
    field = "base/config.json"
    raw = read_object(folder / "config.json", field=field)
    architecture = architecture_of(raw.get("model_type"))
    fields = validated(_FIELDS[architecture.model_type], raw, field=field)
    # What the file leaves out takes the architecture's default: RoBERTa pads with 1, BERT with 0.
    given = fields.model_dump(exclude=_NOT_IN_CONFIG, exclude_unset=True, exclude_none=True)
    config = architecture.config_class(**given)
    if getattr(config, architecture.hidden_size) % getattr(config, architecture.heads):
        raise InputError(
            f"the hidden size {getattr(config, architecture.hidden_size)} is not a multiple of the "
            "number of attention heads",
            field=f"base/config.json/{architecture.heads}",
            value=getattr(config, architecture.heads),
        )
    return architecture, config, _label_names(fields.id2label)


def _label_names(id2label: dict[int, str] | None) -> tuple[str, ...] | None:
    """Names in class order; None when the file has none or only placeholders (``LABEL_0``)."""
    if not id2label or sorted(id2label) != list(range(len(id2label))):
        return None
    names = tuple(id2label[index] for index in range(len(id2label)))
    return None if all(name == f"LABEL_{i}" for i, name in enumerate(names)) else names
