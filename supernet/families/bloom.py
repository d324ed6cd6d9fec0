"""BLOOM and BLOOMZ (Le Scao et al. 2022; Muennighoff et al. 2023).

``x = x + attention(LN(x)); x = x + W2 gelu(W1 LN(x))``, behind a LayerNorm of the embeddings.
Queries, keys and values are one matrix, interleaved head by head. Each head takes distances off its
products at a slope of its own (alibi, Press et al. 2022), which Transformers works out for all
heads at once from the padding: so blocks run with all heads, and rows hold one text each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from transformers import BloomConfig, BloomForCausalLM

from elasticnas.supernet.checkpoint.options import honoured, refused, without_effect
from elasticnas.supernet.families.config_options import SAME
from elasticnas.supernet.families.decoder import DECODER_OPTIONS, DecoderFields
from elasticnas.supernet.families.family import LONGEST, BlockHalf, Family, HeadKind, Role, TaskHead

_MEGATRON = without_effect("written by Megatron-DeepSpeed, read by nothing")


class BloomFields(DecoderFields):
    """The fields of BLOOM's ``config.json``."""

    max_position_embeddings: int = Field(default=LONGEST, gt=0, le=LONGEST)
    n_layer: int = Field(gt=0, le=512)
    n_head: int = Field(gt=0, le=1024)
    layer_norm_epsilon: float = Field(default=1e-5, gt=0, le=1)
    hidden_dropout: float = Field(default=0.0, ge=0, le=1)
    apply_residual_connection_post_layernorm: bool = False


def _keys_and_values(
    block: Any, hidden: torch.Tensor, _: Mapping[str, Any]
) -> tuple[torch.Tensor, torch.Tensor]:
    """`KeysAndValues`: of a matrix in which each head's query, key and value follow each other."""
    attention = block.self_attention
    fused = attention.query_key_value(block.input_layernorm(hidden))
    heads = fused.view(*hidden.shape[:-1], -1, 3, attention.head_dim)
    _, key, value = heads.unbind(dim=-2)
    return key.transpose(1, 2), value.transpose(1, 2)


BLOOM = Family(
    model_type="bloom",
    config_class=BloomConfig,
    fields=BloomFields,
    options={
        **DECODER_OPTIONS,
        "n_embed": honoured("another name of hidden_size"),
        "n_layer": honoured("layers; tensors of further layers are left out"),
        "num_hidden_layers": honoured("another name of n_layer"),
        "n_head": honoured("heads"),
        "num_attention_heads": honoured("another name of n_head"),
        "n_inner": refused("the FFN is four times as wide as the model", SAME),
        "layer_norm_epsilon": honoured("LayerNorm's epsilon"),
        "hidden_dropout": honoured("used while training"),
        "apply_residual_connection_post_layernorm": honoured("where the residual is taken"),
        "position_embedding_type": refused(
            "positions are those of the stock model", SAME, accepted=("alibi",)
        ),
        "slow_but_exact": refused(
            "sums in the order of a training on several devices, which subnets do not have",
            "set it to false: results differ by rounding only",
        ),
        "seq_length": without_effect("no position is beyond reach of alibi"),
        "attention_softmax_in_fp32": without_effect("Transformers always does so"),
        "bias_dropout_fusion": _MEGATRON,
        "masked_softmax_fusion": _MEGATRON,
        "offset_alibi": _MEGATRON,
        "skip_bias_add": _MEGATRON,
        "skip_bias_add_qkv": _MEGATRON,
    },
    task_heads=(TaskHead(HeadKind.CAUSAL_LM, BloomForCausalLM, logits="lm_head"),),
    model="transformer",
    layers="transformer.h",
    embeddings="transformer.word_embeddings_layernorm",
    words="word_embeddings",
    linears={
        Role.QKV: "self_attention.query_key_value",
        Role.ATTENTION_OUTPUT: "self_attention.dense",
        Role.FFN_IN: "mlp.dense_h_to_4h",
        Role.FFN_OUT: "mlp.dense_4h_to_h",
    },
    heads="n_head",
    ffn_width=None,
    depth="n_layer",
    other_names={"n_embed": "hidden_size"},
    has_elastic_heads=False,
    halves={
        # Both are given the residual as well, and add it themselves.
        "attention": BlockHalf(
            {"self_attention": "same, none", "input_layernorm": "same"},
            reads="input_layernorm",
            output="self_attention",
        ),
        "ffn": BlockHalf(
            {"mlp": "same", "post_attention_layernorm": "same"},
            reads="post_attention_layernorm",
            output="mlp",
        ),
    },
    block_returns_tuple=True,
    is_causal=True,
    keys_and_values=_keys_and_values,
)
