"""LLaMA 1 to 3 (Touvron et al. 2023; Dubey et al. 2024).

``x = x + attention(norm(x)); x = x + W_down (silu(W_gate norm(x)) * W_up norm(x))``, with RMSNorm,
rotary positions, and groups of query heads on each key-value head.
"""

from __future__ import annotations

from transformers import LlamaConfig, LlamaForCausalLM

from elasticnas.supernet.checkpoint.options import honoured
from elasticnas.supernet.families.decoder import (
    GATED_DECODER_LINEARS,
    GATED_DECODER_OPTIONS,
    GatedDecoderFields,
    added_halves,
    gated_keys_and_values,
    older_rotation,
)
from elasticnas.supernet.families.family import Family, HeadKind, TaskHead


class LlamaFields(GatedDecoderFields):
    """The fields of LLaMA's ``config.json``."""

    attention_bias: bool = False
    mlp_bias: bool = False


LLAMA = Family(
    model_type="llama",
    config_class=LlamaConfig,
    fields=LlamaFields,
    options={
        **GATED_DECODER_OPTIONS,
        "attention_bias": honoured("biases on q, k, v and o"),
        "mlp_bias": honoured("biases in the FFN"),
    },
    task_heads=(TaskHead(HeadKind.CAUSAL_LM, LlamaForCausalLM, logits="lm_head"),),
    model="model",
    layers="model.layers",
    embeddings="model.embed_tokens",
    words="embed_tokens",
    linears=GATED_DECODER_LINEARS,
    kv_heads="num_key_value_heads",
    head_dim="head_dim",
    halves=added_halves("self_attn", "mlp"),
    is_causal=True,
    attends_by_interface=True,
    keys_and_values=gated_keys_and_values,
    takes_full_masks=True,
    older_options=older_rotation,
    left_over=(".self_attn.rotary_emb.inv_freq",),
)
