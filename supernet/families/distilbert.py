"""DistilBERT (Sanh et al. 2019): BERT's blocks under names of its own, without token types."""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import Field
from torch import nn
from transformers import (
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
)

from elasticnas.supernet.checkpoint.options import honoured, without_effect
from elasticnas.supernet.families.bert import BERT
from elasticnas.supernet.families.config_fields import Activation, ConfigFields
from elasticnas.supernet.families.config_options import ENCODER_OPTIONS
from elasticnas.supernet.families.family import BlockHalf, HeadKind, Role, TaskHead


class DistilBertFields(ConfigFields):
    """The fields of DistilBERT's ``config.json``."""

    dim: int = Field(gt=0, le=65_536)
    n_layers: int = Field(gt=0, le=512)
    n_heads: int = Field(gt=0, le=1024)
    hidden_dim: int = Field(gt=0, le=1_048_576)
    activation: Activation = "gelu"
    dropout: float = Field(default=0.1, ge=0, le=1)
    attention_dropout: float = Field(default=0.1, ge=0, le=1)
    seq_classif_dropout: float = Field(default=0.2, ge=0, le=1)


def _after_attention(block: nn.Module, context: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    projected = block.get_submodule("attention.out_lin")(context)
    attended = block.get_submodule("sa_layer_norm")(projected + hidden)
    output: torch.Tensor = block.get_submodule("output_layer_norm")(
        block.get_submodule("ffn")(attended) + attended
    )
    return output


DISTILBERT = replace(
    BERT,
    model_type="distilbert",
    config_class=DistilBertConfig,
    fields=DistilBertFields,
    options={
        **ENCODER_OPTIONS,
        "dim": honoured("width of the model"),
        "hidden_size": honoured("another name of dim"),
        "n_layers": honoured("layers; tensors of further layers are left out"),
        "num_hidden_layers": honoured("another name of n_layers"),
        "n_heads": honoured("heads"),
        "num_attention_heads": honoured("another name of n_heads"),
        "hidden_dim": honoured("FFN width"),
        "activation": honoured("the FFN's activation"),
        "dropout": honoured("used while training"),
        "attention_dropout": honoured("used while training"),
        "seq_classif_dropout": honoured("used while training"),
        "qa_dropout": honoured("used while training"),
        "sinusoidal_pos_embds": without_effect("the stored position embeddings are used"),
    },
    task_heads=(
        TaskHead(
            HeadKind.CLASSIFIER,
            DistilBertForSequenceClassification,
            logits="classifier",
            one_token=("pre_classifier", "classifier"),
            trained=("pre_classifier", "classifier"),
            reads_first_token=True,
        ),
        TaskHead(
            HeadKind.SPANS,
            DistilBertForQuestionAnswering,
            logits="qa_outputs",
            trained=("qa_outputs",),
        ),
    ),
    model="distilbert",
    layers="distilbert.transformer.layer",
    embeddings="distilbert.embeddings",
    linears={
        Role.QUERY: "attention.q_lin",
        Role.KEY: "attention.k_lin",
        Role.VALUE: "attention.v_lin",
        Role.ATTENTION_OUTPUT: "attention.out_lin",
        Role.FFN_IN: "ffn.lin1",
        Role.FFN_OUT: "ffn.lin2",
    },
    hidden_size="dim",
    heads="n_heads",
    ffn_width="hidden_dim",
    depth="n_layers",
    head_count="n_heads",
    head_width="dim",
    halves={
        "attention": BlockHalf(
            {"attention": "zero, none", "sa_layer_norm": "same"},
            reads="attention",
            output="sa_layer_norm",
        ),
        "ffn": BlockHalf(
            {"ffn": "zero", "output_layer_norm": "same"}, reads="ffn", output="output_layer_norm"
        ),
    },
    dropped_out="distilbert.embeddings.dropout",
    after_attention=_after_attention,
    type_ids=False,
)
