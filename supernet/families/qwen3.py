"""Qwen3 (Yang et al. 2025): Qwen2's blocks, with RMSNorms on queries and keys in place of biases.

The norms have the size of a head, which the config says: heads together need not be as wide as the
hidden state.
"""

from __future__ import annotations

from dataclasses import replace

from transformers import Qwen3Config, Qwen3ForCausalLM

from elasticnas.supernet.checkpoint.options import honoured
from elasticnas.supernet.families.family import HeadKind, TaskHead
from elasticnas.supernet.families.qwen2 import QWEN2, QWEN_OPTIONS, QwenFields


class Qwen3Fields(QwenFields):
    """The fields of Qwen3's ``config.json``."""

    attention_bias: bool = False


QWEN3 = replace(
    QWEN2,
    model_type="qwen3",
    config_class=Qwen3Config,
    fields=Qwen3Fields,
    options={**QWEN_OPTIONS, "attention_bias": honoured("biases on q, k, v and o")},
    task_heads=(TaskHead(HeadKind.CAUSAL_LM, Qwen3ForCausalLM, logits="lm_head"),),
)
