"""GPT-NeoX and Pythia (Black et al. 2022; Biderman et al. 2023).

``x = x + attention(LN1(x)) + W2 gelu(W1 LN2(x))``: attention and FFN side by side, or one behind
the other as the config says. Queries, keys and values are one matrix, interleaved head by head, and
positions rotate the first channels of a head only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PretrainedConfig
from transformers.models.gpt_neox.modeling_gpt_neox import apply_rotary_pos_emb

from elasticnas.supernet.checkpoint.options import honoured, without_effect
from elasticnas.supernet.families.config_fields import Activation
from elasticnas.supernet.families.decoder import (
    DECODER_OPTIONS,
    DecoderFields,
    Rotation,
    added_halves,
    older_rotation,
)
from elasticnas.supernet.families.family import Family, HeadKind, Role, TaskHead


class GPTNeoXFields(DecoderFields):
    """The fields of GPT-NeoX's ``config.json``."""

    num_hidden_layers: int = Field(gt=0, le=512)
    num_attention_heads: int = Field(gt=0, le=1024)
    intermediate_size: int = Field(gt=0, le=1_048_576)
    hidden_act: Activation = "gelu"
    layer_norm_eps: float = Field(default=1e-5, gt=0, le=1)
    hidden_dropout: float = Field(default=0.0, ge=0, le=1)
    use_parallel_residual: bool = True
    attention_bias: bool = True
    rotary_pct: float = Field(default=0.25, gt=0, le=1)
    rotary_emb_base: float = Field(default=10_000, gt=0)
    rope_parameters: Rotation | None = None
    rope_scaling: Rotation | None = None


def _older_rotation(config: PretrainedConfig) -> dict[str, Any]:
    """The same under GPT-NeoX's own names."""
    older = older_rotation(config)
    return {
        "rotary_emb_base": older["rope_theta"],
        "rotary_pct": config.rope_parameters["partial_rotary_factor"],
        "rope_scaling": older["rope_scaling"],
    }


def _keys_and_values(
    block: Any, hidden: torch.Tensor, named: Mapping[str, Any]
) -> tuple[torch.Tensor, torch.Tensor]:
    """`KeysAndValues`: of a matrix in which each head's query, key and value follow each other."""
    attention = block.attention
    fused = attention.query_key_value(block.input_layernorm(hidden))
    heads = fused.view(*hidden.shape[:-1], -1, 3 * attention.head_size).transpose(1, 2)
    query, key, value = heads.chunk(3, dim=-1)
    _, turned = apply_rotary_pos_emb(  # type: ignore[no-untyped-call]
        query, key, *named["position_embeddings"]
    )
    return turned, value


GPT_NEOX = Family(
    model_type="gpt_neox",
    config_class=GPTNeoXConfig,
    fields=GPTNeoXFields,
    options={
        **DECODER_OPTIONS,
        "intermediate_size": honoured("FFN width"),
        "hidden_act": honoured("the FFN's activation"),
        "layer_norm_eps": honoured("LayerNorm's epsilon"),
        "hidden_dropout": honoured("used while training"),
        "use_parallel_residual": honoured("whether attention and FFN read the same"),
        "attention_bias": honoured("biases of attention"),
        "rotary_pct": honoured("the share of a head's channels that positions rotate"),
        "partial_rotary_factor": honoured("another name of rotary_pct"),
        "rotary_emb_base": honoured("the base of the rotary positions' frequencies"),
        "rope_theta": honoured("another name of rotary_emb_base"),
        "rope_parameters": honoured(
            "rotary positions: default, linear, yarn or llama3; others are refused"
        ),
        "rope_scaling": honoured("the name that Transformers 4 gives rope_parameters"),
        "hidden_dropout_prob": without_effect("the first release's name for a dropout"),
        "attention_probs_dropout_prob": without_effect("the first release's name for a dropout"),
        "classifier_dropout": without_effect("dropout of token classification"),
    },
    task_heads=(TaskHead(HeadKind.CAUSAL_LM, GPTNeoXForCausalLM, logits="lm_head"),),
    model="gpt_neox",
    layers="gpt_neox.layers",
    embeddings="gpt_neox.emb_dropout",
    words="embed_in",
    linears={
        Role.QKV: "attention.query_key_value",
        Role.ATTENTION_OUTPUT: "attention.dense",
        Role.FFN_IN: "mlp.dense_h_to_4h",
        Role.FFN_OUT: "mlp.dense_4h_to_h",
    },
    halves=added_halves("attention", "mlp"),
    other_names={"rope_theta": "rotary_emb_base", "partial_rotary_factor": "rotary_pct"},
    is_causal=True,
    attends_by_interface=True,
    keys_and_values=_keys_and_values,
    takes_full_masks=True,
    left_over=(".attention.bias", ".attention.masked_bias", ".attention.rotary_emb.inv_freq"),
    older_options=_older_rotation,
    stored_names={"lm_head.": "embed_out."},
)
