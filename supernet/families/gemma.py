"""Gemma (Gemma Team 2024): LLaMA's blocks with a GELU gate and RMSNorms that multiply by 1 + w.

Embeddings are multiplied by the root of the hidden size, and are the head's weight too.
"""

from __future__ import annotations

from dataclasses import replace

from transformers import GemmaConfig, GemmaForCausalLM

from elasticnas.supernet.checkpoint.options import honoured, refused
from elasticnas.supernet.families.config_options import SAME
from elasticnas.supernet.families.decoder import GATED_DECODER_OPTIONS, GatedDecoderFields
from elasticnas.supernet.families.family import HeadKind, TaskHead
from elasticnas.supernet.families.llama import LLAMA


class GemmaFields(GatedDecoderFields):
    """The fields of Gemma's ``config.json``."""

    attention_bias: bool = False


GEMMA = replace(
    LLAMA,
    model_type="gemma",
    config_class=GemmaConfig,
    fields=GemmaFields,
    options={
        **GATED_DECODER_OPTIONS,
        "hidden_act": honoured("the FFN's activation; gelu means gelu_pytorch_tanh, as it says"),
        "hidden_activation": refused(
            "Transformers reads hidden_act", SAME, accepted=("gelu_pytorch_tanh",)
        ),
        "attention_bias": honoured("biases on q, k, v and o"),
    },
    task_heads=(TaskHead(HeadKind.CAUSAL_LM, GemmaForCausalLM, logits="lm_head"),),
)
