"""BERT (Devlin et al. 2019): ``x = LN(x + attention(x)); x = LN(x + W2 gelu(W1 x))``."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn
from transformers import BertConfig, BertForQuestionAnswering, BertForSequenceClassification

from elasticnas.supernet.checkpoint.options import honoured, refused
from elasticnas.supernet.families.config_fields import Activation, ConfigFields
from elasticnas.supernet.families.config_options import ENCODER_OPTIONS, SAME
from elasticnas.supernet.families.family import BlockHalf, Family, HeadKind, Role, TaskHead


class BertFields(ConfigFields):
    """The fields of BERT's and RoBERTa's ``config.json``."""

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


def _after_attention(block: nn.Module, context: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    attended = block.get_submodule("attention.output")(context, hidden)
    output: torch.Tensor = block.get_submodule("output")(
        block.get_submodule("intermediate")(attended), attended
    )
    return output


BERT = Family(
    model_type="bert",
    config_class=BertConfig,
    fields=BertFields,
    options={
        **ENCODER_OPTIONS,
        "hidden_size": honoured("width of the model"),
        "num_hidden_layers": honoured("layers; tensors of further layers are left out"),
        "num_attention_heads": honoured("heads"),
        "intermediate_size": honoured("FFN width"),
        "hidden_act": honoured("the FFN's activation"),
        "hidden_dropout_prob": honoured("used while training"),
        "attention_probs_dropout_prob": honoured("used while training"),
        "classifier_dropout": honoured("used while training"),
        "type_vocab_size": honoured("rows of the token type embeddings"),
        "layer_norm_eps": honoured("LayerNorm's epsilon"),
        "position_embedding_type": refused(
            "only absolute positions are read", SAME, accepted=("absolute",)
        ),
    },
    task_heads=(
        TaskHead(
            HeadKind.CLASSIFIER,
            BertForSequenceClassification,
            logits="classifier",
            one_token=("bert.pooler.dense", "classifier"),
            trained=("classifier",),
            reads_first_token=True,
        ),
        TaskHead(
            HeadKind.SPANS,
            BertForQuestionAnswering,
            logits="qa_outputs",
            trained=("qa_outputs",),
        ),
    ),
    model="bert",
    layers="bert.encoder.layer",
    embeddings="bert.embeddings",
    words="embeddings.word_embeddings",
    linears={
        Role.QUERY: "attention.self.query",
        Role.KEY: "attention.self.key",
        Role.VALUE: "attention.self.value",
        Role.ATTENTION_OUTPUT: "attention.output.dense",
        Role.FFN_IN: "intermediate.dense",
        Role.FFN_OUT: "output.dense",
    },
    head_count="num_attention_heads",
    head_width="all_head_size",
    halves={
        "attention": BlockHalf(
            {"attention": "same, none"}, reads="attention", output="attention.output.LayerNorm"
        ),
        "ffn": BlockHalf(
            {"intermediate": "same", "output": "same"},
            reads="intermediate",
            output="output.LayerNorm",
        ),
    },
    dropped_out="bert.embeddings.dropout",
    after_attention=_after_attention,
    type_ids=True,
    # Two buffers of counted numbers, and a pooler where the head has none to read.
    unused=("embeddings.position_ids", "embeddings.token_type_ids", "pooler."),
    # Checkpoints from before 2019 call the weights of a LayerNorm so.
    old_names={"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"},
)
