"""Qwen2 and Qwen2.5 (Yang et al. 2024): LLaMA's blocks, with biases on q, k and v alone."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field
from transformers import Qwen2Config, Qwen2ForCausalLM

from elasticnas.supernet.checkpoint.options import Option, honoured
from elasticnas.supernet.families.decoder import GATED_DECODER_OPTIONS, GatedDecoderFields
from elasticnas.supernet.families.family import HeadKind, TaskHead
from elasticnas.supernet.families.llama import LLAMA


class QwenFields(GatedDecoderFields):
    """The fields of Qwen2's and Qwen3's ``config.json``."""

    meant_nulls: ClassVar[tuple[str, ...]] = (*GatedDecoderFields.meant_nulls, "sliding_window")

    use_sliding_window: bool = False
    sliding_window: int | None = Field(default=None, gt=0)
    max_window_layers: int = Field(default=28, ge=0)
    layer_types: list[Literal["full_attention", "sliding_attention"]] | None = None


QWEN_OPTIONS: dict[str, Option] = {
    **GATED_DECODER_OPTIONS,
    "use_sliding_window": honoured("whether tokens of some layers see a window only"),
    "sliding_window": honoured("how many tokens they see; not used without use_sliding_window"),
    "max_window_layers": honoured("layers before the first such one, where layer_types is missing"),
    "layer_types": honoured("full_attention or sliding_attention, for each layer"),
}

QWEN2 = replace(
    LLAMA,
    model_type="qwen2",
    config_class=Qwen2Config,
    fields=QwenFields,
    options=QWEN_OPTIONS,
    task_heads=(TaskHead(HeadKind.CAUSAL_LM, Qwen2ForCausalLM, logits="lm_head"),),
    per_layer=("layer_types",),
    sliding_window="sliding_window",
)
