"""Mistral 7B (Jiang et al. 2023): LLaMA's blocks, where a token sees only so many before it."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from pydantic import Field
from transformers import MistralConfig, MistralForCausalLM

from elasticnas.supernet.checkpoint.options import honoured
from elasticnas.supernet.families.decoder import GATED_DECODER_OPTIONS, GatedDecoderFields
from elasticnas.supernet.families.family import HeadKind, TaskHead
from elasticnas.supernet.families.llama import LLAMA


class MistralFields(GatedDecoderFields):
    """The fields of Mistral's ``config.json``. Transformers' default is a window of 4096 tokens."""

    meant_nulls: ClassVar[tuple[str, ...]] = (*GatedDecoderFields.meant_nulls, "sliding_window")

    sliding_window: int | None = Field(default=None, gt=0)


MISTRAL = replace(
    LLAMA,
    model_type="mistral",
    config_class=MistralConfig,
    fields=MistralFields,
    options={
        **GATED_DECODER_OPTIONS,
        "sliding_window": honoured("how many tokens a token sees; null for all before it"),
    },
    task_heads=(TaskHead(HeadKind.CAUSAL_LM, MistralForCausalLM, logits="lm_head"),),
    sliding_window="sliding_window",
)
