"""A family that does not come with ElasticNAS, in one file: Seed-OSS (ByteDance Seed Team 2025).

``x = x + attention(norm(x)); x = x + W_down (silu(W_gate norm(x)) * W_up norm(x))``, with RMSNorm,
rotary positions, groups of query heads on each key-value head, and biases on q, k and v.
"""

from __future__ import annotations

from pydantic import Field
from transformers import SeedOssConfig, SeedOssForCausalLM

from elasticnas.supernet.checkpoint.options import honoured
from elasticnas.supernet.families import FAMILIES
from elasticnas.supernet.families.decoder import GATED_DECODER_OPTIONS, GatedDecoderFields
from elasticnas.supernet.families.family import Family, HeadKind, Role, TaskHead


class SeedOssFields(GatedDecoderFields):
    attention_bias: bool = True
    attention_out_bias: bool = False
    mlp_bias: bool = False
    residual_dropout: float = Field(default=0.1, ge=0, le=1)


SEED_OSS = FAMILIES.register(
    "seed_oss",
    Family(
        model_type="seed_oss",
        config_class=SeedOssConfig,
        fields=SeedOssFields,
        options={
            **GATED_DECODER_OPTIONS,
            "attention_bias": honoured("biases on q, k and v"),
            "attention_out_bias": honoured("a bias on o"),
            "mlp_bias": honoured("biases in the FFN"),
            "residual_dropout": honoured("used while training"),
        },
        task_heads=(TaskHead(HeadKind.CAUSAL_LM, SeedOssForCausalLM, logits="lm_head"),),
        model="model",
        layers="model.layers",
        embeddings="model.embed_tokens",
        words="embed_tokens",
        linears={
            Role.QUERY: "self_attn.q_proj",
            Role.KEY: "self_attn.k_proj",
            Role.VALUE: "self_attn.v_proj",
            Role.ATTENTION_OUTPUT: "self_attn.o_proj",
            Role.FFN_IN: "mlp.up_proj",
            Role.FFN_GATE: "mlp.gate_proj",
            Role.FFN_OUT: "mlp.down_proj",
        },
        kv_heads="num_key_value_heads",
        head_dim="head_dim",
        is_causal=True,
        takes_full_masks=True,
    ),
)
