"""BERT whose layers have operations, widths and feed-forward stacks of their own (FlexiBERT).

Tuli, Dedhia, Tuli, Jha 2022, "FlexiBERT", section 3. A layer computes ``y = LN(x + op(x))``, then
``LN(y + FFN(y))``. Modules and tensors are named as BERT's, which a model of scaled dot products
alone therefore is. A layer's input passes ``join`` where the layer before it has another width.

Every module takes its sizes from its weights, and a layer runs what it has: a subnet is this model
with weights cut and modules taken out. A super-network's layers have several operations, of which
a subnet keeps one, and it is never run but through its subnets.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.bert.modeling_bert import BertEmbeddings, BertPooler

from elasticnas.supernet.operations import OPERATIONS
from elasticnas.supernet.operations.config import FURTHER, FlexiBertConfig


class ChannelNorm(nn.LayerNorm):
    """A LayerNorm over as many channels as its weight has."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """``hidden`` is (rows, tokens, hidden size)."""
        return functional.layer_norm(hidden, self.weight.shape, self.weight, self.bias, self.eps)


class Projections(nn.Module):
    """Query, key and value, which several operations share."""

    def __init__(self, hidden: int, channels: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden, channels)
        self.key = nn.Linear(hidden, channels)
        self.value = nn.Linear(hidden, channels)


class Output(nn.Module):
    """What ends half a layer: a linear layer, and the norm behind the residual."""

    def __init__(self, inputs: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, hidden)
        self.LayerNorm = ChannelNorm(hidden, eps=eps)


class Attention(nn.Module):
    """The weights that operations share: one that transforms has none but the norm."""

    def __init__(self, layer: dict[str, Any], eps: float) -> None:
        super().__init__()
        self.head_size = layer["head_size"]
        channels = layer["heads"] * layer["head_size"]
        self.self = Projections(layer["hidden"], channels)
        self.output = Output(channels, layer["hidden"], eps)
        if not any(OPERATIONS[name].projects for name in layer["operations"]):
            del self.self, self.output.dense


class Dense(nn.Module):
    """A linear layer by the name that BERT gives it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, outputs)


class FlexiBertLayer(nn.Module):
    """One layer: an operation, and one to three feed-forward layers before the last."""

    def __init__(self, config: FlexiBertConfig, layer: dict[str, Any]) -> None:
        super().__init__()
        hidden, ffn = layer["hidden"], layer["ffn"]
        if layer["reads"] is not None:
            self.join = nn.Linear(layer["reads"], hidden)
        self.operations = nn.ModuleDict(
            {name: OPERATIONS[name].make(layer) for name in layer["operations"]}
        )
        self.attention = Attention(layer, config.layer_norm_eps)
        self.intermediate = Dense(hidden, ffn)
        for name in FURTHER:
            if width := layer[name]:
                self.add_module(name, Dense(width, width))
        self.output = Output(ffn, hidden, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, hidden: torch.Tensor, is_token: torch.Tensor) -> torch.Tensor:
        """``hidden`` is (rows, tokens, hidden size), ``is_token`` (rows, tokens)."""
        if "join" in self._modules:
            hidden = self.join(hidden)
        operation = next(iter(self.operations.values()))
        mixed = operation(hidden, is_token, self.attention)
        hidden = self.attention.output.LayerNorm(self.dropout(mixed) + hidden)
        neurons = self.activation(self.intermediate.dense(hidden))
        for name in FURTHER:
            if name in self._modules:
                neurons = self.activation(getattr(self, name).dense(neurons))
        output: torch.Tensor = self.output.LayerNorm(
            self.dropout(self.output.dense(neurons)) + hidden
        )
        return output


class FlexiBertEncoder(nn.Module):
    """The layers, one after the other."""

    def __init__(self, config: FlexiBertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(FlexiBertLayer(config, layer) for layer in config.layers)

    def forward(self, hidden: torch.Tensor, is_token: torch.Tensor) -> torch.Tensor:
        """See `FlexiBertLayer.forward`."""
        for layer in self.layer:
            hidden = layer(hidden, is_token)
        return hidden


def resized(config: FlexiBertConfig, layer: dict[str, Any]) -> FlexiBertConfig:
    """The config with the width of one of its layers, for what is before or behind it."""
    told = type(config).from_dict(config.to_dict())
    told.hidden_size = layer["hidden"]
    return told


class FlexiBertModel(nn.Module):
    """Embeddings, layers and BERT's pooler."""

    def __init__(self, config: FlexiBertConfig) -> None:
        super().__init__()
        first, last = (resized(config, config.layers[place]) for place in (0, -1))
        self.embeddings = BertEmbeddings(first)  # type: ignore[no-untyped-call]
        self.embeddings.LayerNorm = ChannelNorm(first.hidden_size, eps=config.layer_norm_eps)
        self.encoder = FlexiBertEncoder(config)
        self.pooler = BertPooler(last)  # type: ignore[no-untyped-call]


class FlexiBertForSequenceClassification(PreTrainedModel):  # type: ignore[no-untyped-call]
    """A classifier, or a regression where it has one label."""

    config_class = FlexiBertConfig
    base_model_prefix = "bert"

    def __init__(self, config: FlexiBertConfig) -> None:
        super().__init__(config)
        self.bert = FlexiBertModel(config)
        dropout = config.classifier_dropout
        self.dropout = nn.Dropout(config.hidden_dropout_prob if dropout is None else dropout)
        self.classifier = nn.Linear(config.layers[-1]["hidden"], config.num_labels or 1)
        self.post_init()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # Operations have initialised what is theirs.
        if isinstance(module, nn.Linear | nn.Embedding | nn.LayerNorm):
            super()._init_weights(module)  # type: ignore[no-untyped-call]
        elif isinstance(module, BertEmbeddings) and not module.position_ids.is_meta:
            module.position_ids.copy_(torch.arange(module.position_ids.shape[-1])[None])
            module.token_type_ids.zero_()

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """``input_ids`` and ``attention_mask`` are (rows, tokens), the latter 0 for padding."""
        hidden = self.bert.embeddings(
            input_ids=input_ids, token_type_ids=token_type_ids, position_ids=position_ids
        )
        is_token = (
            torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
            if attention_mask is None
            else attention_mask.reshape(hidden.shape[:2]).bool()
        )
        pooled = self.bert.pooler(self.bert.encoder(hidden, is_token))
        logits = self.classifier(self.dropout(pooled))
        loss = None
        if labels is not None and self.config.num_labels == 1:
            loss = functional.mse_loss(logits.squeeze(-1), labels.to(logits.dtype))
        elif labels is not None:
            loss = functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)
