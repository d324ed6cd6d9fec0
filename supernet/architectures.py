"""Where the parts of an encoder layer are, for each Transformers architecture that is read.

This table is all that is specific to an architecture. Cuts, costs and exports are derived from it
and from the model's own shapes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from elasticnas.api_schemas.problems import InputError


@dataclass(frozen=True)
class Architecture:
    """Names of modules; those of a layer are relative to ``<layers>.<index>``.

    ``encoder`` is the attribute of the classifier that holds the bare encoder. ``head`` are the
    linear modules that see one token a sequence, the last of which gives the logits; ``trained``
    are the modules that sequence classification adds to a pretrained encoder. ``type_ids`` says
    whether the model can be told which text of a pair a token belongs to,
    ``positions_after_padding`` whether it counts positions from behind the padding's id on.
    ``hidden_size``, ``heads``, ``ffn_width`` and ``depth`` are the config's names for these.
    """

    model_type: str
    config_class: type[PretrainedConfig]
    model_class: type[PreTrainedModel]
    encoder: str
    layers: str
    query: str
    key: str
    value: str
    attention_output: str
    ffn_in: str
    ffn_out: str
    head: tuple[str, ...]
    trained: tuple[str, ...]
    hidden_size: str = "hidden_size"
    heads: str = "num_attention_heads"
    ffn_width: str = "intermediate_size"
    depth: str = "num_hidden_layers"
    type_ids: bool = False
    positions_after_padding: bool = False

    def module(self, layer: int, role: str) -> str:
        """The full name of a part of a layer, e.g. ``module(3, "query")``."""
        return f"{self.layers}.{layer}.{getattr(self, role)}"

    @property
    def embeddings(self) -> str:
        """The module that turns token ids into the first layer's input."""
        return f"{self.encoder}.embeddings"

    def layer_of(self, name: str) -> int | None:
        """The encoder layer that a module or tensor belongs to, None outside the layers."""
        prefix = f"{self.layers}."
        return int(name.removeprefix(prefix).partition(".")[0]) if name.startswith(prefix) else None

    def role_of(self, module: str) -> tuple[int, str] | None:
        """The (layer, role) of a module name: the inverse of `module`, None for any other."""
        index, _, rest = module.removeprefix(f"{self.layers}.").partition(".")
        if not module.startswith(f"{self.layers}.") or not index.isdecimal():
            return None
        roles = {getattr(self, role): role for role in ROLES}
        return (int(index), roles[rest]) if rest in roles else None

    def position_ids(self, token_ids: torch.Tensor, config: PretrainedConfig) -> torch.Tensor:
        """The positions that the model itself would give ``token_ids``, both (rows, tokens)."""
        if not self.positions_after_padding:
            return torch.arange(token_ids.shape[1]).expand_as(token_ids)
        # A padding token, wherever it is, has the padding's position, and is not counted.
        padding = int(config.pad_token_id)
        counted = token_ids != padding
        return counted.cumsum(1) * counted + padding

    def head_size(self, config: PretrainedConfig) -> int:
        """Channels of one attention head."""
        return int(getattr(config, self.hidden_size) // getattr(config, self.heads))


ROLES = ("query", "key", "value", "attention_output", "ffn_in", "ffn_out")
"""The linear layers of an encoder layer, in the order in which data meets them."""

BERT = Architecture(
    model_type="bert",
    config_class=BertConfig,
    model_class=BertForSequenceClassification,
    encoder="bert",
    layers="bert.encoder.layer",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention_output="attention.output.dense",
    ffn_in="intermediate.dense",
    ffn_out="output.dense",
    head=("bert.pooler.dense", "classifier"),
    trained=("classifier",),
    type_ids=True,
)

ROBERTA = Architecture(
    model_type="roberta",
    config_class=RobertaConfig,
    model_class=RobertaForSequenceClassification,
    encoder="roberta",
    layers="roberta.encoder.layer",
    query=BERT.query,
    key=BERT.key,
    value=BERT.value,
    attention_output=BERT.attention_output,
    ffn_in=BERT.ffn_in,
    ffn_out=BERT.ffn_out,
    head=("classifier.dense", "classifier.out_proj"),
    trained=("classifier",),
    type_ids=True,
    positions_after_padding=True,
)

DISTILBERT = Architecture(
    model_type="distilbert",
    config_class=DistilBertConfig,
    model_class=DistilBertForSequenceClassification,
    encoder="distilbert",
    layers="distilbert.transformer.layer",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attention_output="attention.out_lin",
    ffn_in="ffn.lin1",
    ffn_out="ffn.lin2",
    head=("pre_classifier", "classifier"),
    trained=("pre_classifier", "classifier"),
    hidden_size="dim",
    heads="n_heads",
    ffn_width="hidden_dim",
    depth="n_layers",
)

ARCHITECTURES = {
    architecture.model_type: architecture for architecture in (BERT, ROBERTA, DISTILBERT)
}


def architecture_of(model_type: object) -> Architecture:
    """The architecture of a config's ``model_type``.

    Raises:
        InputError: it is not one of those read here.
    """
    if not isinstance(model_type, str) or model_type not in ARCHITECTURES:
        raise InputError(
            "this architecture is not supported",
            field="base/config.json/model_type",
            value=model_type,
            remedy=f"supported are {', '.join(ARCHITECTURES)}",
        )
    return ARCHITECTURES[model_type]
