"""A family that does not come with ElasticNAS, in one file: Qwen2 (Yang et al. 2024).

``x = x + attention(norm(x)); x = x + W_down (silu(W_gate norm(x)) * W_up norm(x))``, with RMSNorm,
rotary positions, groups of query heads on each key-value head, and biases on q, k and v alone.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from transformers import Qwen2Config, Qwen2ForCausalLM

from elasticnas.supernet.checkpoint.options import honoured, refused, without_effect
from elasticnas.supernet.families import FAMILIES
from elasticnas.supernet.families.config_fields import Activation, ConfigFields
from elasticnas.supernet.families.config_options import COMMON_OPTIONS, SAME
from elasticnas.supernet.families.family import Family, HeadKind, Role, TaskHead


class Qwen2Fields(ConfigFields):
    hidden_size: int = Field(gt=0, le=65_536)
    num_hidden_layers: int = Field(gt=0, le=512)
    num_attention_heads: int = Field(gt=0, le=1024)
    num_key_value_heads: int = Field(gt=0, le=1024)
    head_dim: int | None = Field(default=None, gt=0, le=1024)
    intermediate_size: int = Field(gt=0, le=1_048_576)
    hidden_act: Activation = "silu"
    rms_norm_eps: float = Field(default=1e-6, gt=0, le=1)
    rope_parameters: dict[Literal["rope_theta", "rope_type"], Any] | None = None
    layer_types: list[Literal["full_attention"]] | None = None
    tie_word_embeddings: bool = False
    attention_dropout: float = Field(default=0.0, ge=0, le=1)


QWEN2 = FAMILIES.register(
    "qwen2",
    Family(
        model_type="qwen2",
        config_class=Qwen2Config,
        fields=Qwen2Fields,
        options={
            **COMMON_OPTIONS,
            **{name: honoured("a field of Qwen2") for name in Qwen2Fields.model_fields},
            "use_sliding_window": refused("attention to the nearest tokens only", SAME),
            "sliding_window": without_effect("used with use_sliding_window only"),
            "max_window_layers": without_effect("used with use_sliding_window only"),
        },
        task_heads=(TaskHead(HeadKind.CAUSAL_LM, Qwen2ForCausalLM, logits="lm_head"),),
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
        per_layer=("layer_types",),
        is_causal=True,
    ),
)
