"""A user's ``config.json``, through a schema of our own.

Transformers has run code named in a config.json (CVE-2026-4372), so the file is never handed to it:
the fields below are read, checked and put into a fresh config of an allowed architecture.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from transformers import PretrainedConfig

from elasticnas.api_schemas.fields import FileText
from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.architectures import Architecture, architecture_of
from elasticnas.supernet.checkpoint.json_file import read_object, validated
from elasticnas.supernet.checkpoint.model_options import CONFIG_OPTIONS
from elasticnas.supernet.checkpoint.options import check_options

CONFIG_FIELD = "base/config.json"


def _as_text(name: object) -> object:
    """A class may be named by a number: its labels were numbers when it was trained."""
    return str(name) if name is None or isinstance(name, int | float) else name


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


class _Fields(BaseModel):
    """What the supported architectures have in common; `CONFIG_OPTIONS` says of all others."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

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


class _BertFields(_Fields):
    hidden_size: int = Field(gt=0, le=65_536)
    num_hidden_layers: int = Field(gt=0, le=512)
    num_attention_heads: int = Field(gt=0, le=1024)
    intermediate_size: int = Field(gt=0, le=1_048_576)
    hidden_act: Activation = "gelu"
    hidden_dropout_prob: float = Field(default=0.1, ge=0, le=1)
    attention_probs_dropout_prob: float = Field(default=0.1, ge=0, le=1)
    classifier_dropout: float | None = Field(default=None, ge=0, le=1)
    type_vocab_size: int = Field(default=2, gt=0, le=1024)
    layer_norm_eps: float = Field(default=1e-12, gt=0, le=1)


class _DistilBertFields(_Fields):
    dim: int = Field(gt=0, le=65_536)
    n_layers: int = Field(gt=0, le=512)
    n_heads: int = Field(gt=0, le=1024)
    hidden_dim: int = Field(gt=0, le=1_048_576)
    activation: Activation = "gelu"
    dropout: float = Field(default=0.1, ge=0, le=1)
    attention_dropout: float = Field(default=0.1, ge=0, le=1)
    seq_classif_dropout: float = Field(default=0.2, ge=0, le=1)


_FIELDS: dict[str, type[_Fields]] = {
    "bert": _BertFields,
    "roberta": _BertFields,
    "distilbert": _DistilBertFields,
}


def read_config(folder: Path) -> tuple[Architecture, PretrainedConfig, tuple[str, ...] | None]:
    """The architecture, a fresh config, and the label names in order if the file has real ones.

    The number of labels is not taken from the file but from the head's tensor, later.

    Raises:
        InputError: no config.json, an unsupported architecture, an option that is refused or not
            known, or a field out of bounds.
    """
    raw = read_object(folder / "config.json", field=CONFIG_FIELD)
    architecture = architecture_of(raw.get("model_type"))
    check_options(raw, CONFIG_OPTIONS[architecture.model_type], field=CONFIG_FIELD)
    raw = _own_names(raw, architecture)
    fields = validated(_FIELDS[architecture.model_type], raw, field=CONFIG_FIELD)
    # What the file leaves out takes the architecture's default: RoBERTa pads with 1, BERT with 0.
    given = fields.model_dump(exclude={"id2label"}, exclude_unset=True, exclude_none=True)
    config = architecture.config_class(**given)
    _check_sizes(config, architecture)
    if (
        architecture.positions_after_padding
        and "pad_token_id" in raw
        and fields.pad_token_id is None
    ):
        raise InputError(
            f"{architecture.model_type} counts positions from behind its padding token",
            field=f"{CONFIG_FIELD}/pad_token_id",
            value="null",
            remedy="name the padding token's id",
        )
    return architecture, config, _label_names(fields.id2label)


def positions(architecture: Architecture, config: PretrainedConfig) -> int:
    """The longest sequence that the position embeddings carry."""
    found = int(config.max_position_embeddings)
    # RoBERTa counts positions from pad_token_id + 1, so that many embeddings are never used.
    return found - int(config.pad_token_id) - 1 if architecture.positions_after_padding else found


def _own_names(raw: dict[str, Any], architecture: Architecture) -> dict[str, Any]:
    """``raw`` under the architecture's own names, where Transformers has a second one for them."""
    named = dict(raw)
    for other, own in architecture.config_class.attribute_map.items():
        if other not in named:
            continue
        value = named.pop(other)
        if named.setdefault(own, value) != value:
            raise InputError(
                f"this is another name of {own}, and says otherwise",
                field=f"{CONFIG_FIELD}/{other}",
                value=f"{value} and {named[own]}",
                remedy=f"take {other} out of the file",
            )
    return named


def _check_sizes(config: PretrainedConfig, architecture: Architecture) -> None:
    hidden, heads = getattr(config, architecture.hidden_size), getattr(config, architecture.heads)
    if hidden % heads:
        raise InputError(
            f"the hidden size {hidden} is not a multiple of the number of attention heads",
            field=f"{CONFIG_FIELD}/{architecture.heads}",
            value=heads,
        )
    if config.pad_token_id >= config.vocab_size:
        raise InputError(
            f"the padding token is beyond the {config.vocab_size} embeddings",
            field=f"{CONFIG_FIELD}/pad_token_id",
            value=config.pad_token_id,
            remedy="name the id that the tokenizer pads with",
        )
    if positions(architecture, config) < 1:
        raise InputError(
            "no position is left behind the padding token's, from where this architecture counts",
            field=f"{CONFIG_FIELD}/max_position_embeddings",
            value=config.max_position_embeddings,
        )


def _label_names(id2label: dict[int, str] | None) -> tuple[str, ...] | None:
    """Names in class order; None when the file has none, or names that tell no classes apart.

    Placeholders (``LABEL_0``) are no names.
    """
    if not id2label or sorted(id2label) != list(range(len(id2label))):
        return None
    names = tuple(id2label[index] for index in range(len(id2label)))
    if len(set(names)) < len(names):
        return None
    return None if all(name == f"LABEL_{i}" for i, name in enumerate(names)) else names
