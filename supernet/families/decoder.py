"""What decoders have in common: fields and options of their configs, names of their layers.

``x = x + attention(norm(x)); x = x + FFN(norm(x))``, where a token sees only those before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from torch import nn
from transformers import PretrainedConfig
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from elasticnas.api_schemas.spaces import Half
from elasticnas.supernet.checkpoint.options import Option, honoured, refused, without_effect
from elasticnas.supernet.families.config_fields import Activation, ConfigFields
from elasticnas.supernet.families.config_options import COMMON_OPTIONS, SAME
from elasticnas.supernet.families.family import BlockHalf, Role

_NEEDED_BY_TYPE = {
    "default": (),
    "linear": ("factor",),
    "yarn": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}


class Rotation(BaseModel):
    """``rope_parameters``, or ``rope_scaling`` as Transformers 4 called it (Su et al. 2021).

    ``linear`` divides positions by a factor (Chen et al. 2023), ``yarn`` and ``llama3`` each
    frequency by its own (Peng et al. 2023; LLaMA 3.1). Types whose frequencies follow from the
    longest sequence met so far are not read: a row's result would depend on other rows.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    rope_type: str | None = None
    type: str | None = None
    rope_theta: float | None = Field(default=None, gt=0)
    partial_rotary_factor: float | None = Field(default=None, gt=0, le=1)
    factor: float | None = Field(default=None, ge=1)
    original_max_position_embeddings: int | None = Field(default=None, gt=0)
    low_freq_factor: float | None = Field(default=None, gt=0)
    high_freq_factor: float | None = Field(default=None, gt=0)
    attention_factor: float | None = Field(default=None, gt=0)
    beta_fast: float | None = Field(default=None, gt=0)
    beta_slow: float | None = Field(default=None, gt=0)
    mscale: float | None = Field(default=None, ge=0)
    mscale_all_dim: float | None = Field(default=None, ge=0)
    truncate: bool | None = None

    @model_validator(mode="after")
    def _check(self) -> Rotation:
        if self.rope_type and self.type and self.rope_type != self.type:
            raise ValueError(f"type says {self.type}, rope_type says {self.rope_type}")
        kind = self.rope_type or self.type or "default"
        if kind not in _NEEDED_BY_TYPE:
            raise ValueError(
                f"rotary positions of type {kind} are not read, only {', '.join(_NEEDED_BY_TYPE)}; "
                "a model that is stretched so when it is run, and was not trained so, is read "
                "without this option, to the length that it was trained at"
            )
        for name in _NEEDED_BY_TYPE[kind]:
            if getattr(self, name) is None:
                raise ValueError(f"rotary positions of type {kind} need {name}")
        return self


def _no_padding(token: object) -> object:
    """The first LLaMA conversions wrote -1 for none."""
    return None if token == -1 else token


class DecoderFields(ConfigFields):
    """The fields that all decoders have."""

    meant_nulls: ClassVar[tuple[str, ...]] = ("bos_token_id", "eos_token_id", "pad_token_id")

    bos_token_id: int | None = Field(default=None, ge=0)
    eos_token_id: int | list[int] | None = None
    pad_token_id: Annotated[int | None, Field(ge=0), BeforeValidator(_no_padding)] = None
    hidden_size: int = Field(gt=0, le=65_536)
    tie_word_embeddings: bool | None = None
    attention_dropout: float = Field(default=0.0, ge=0, le=1)


class GatedDecoderFields(DecoderFields):
    """Those of LLaMA, and of the families that follow its layout."""

    num_hidden_layers: int = Field(gt=0, le=512)
    num_attention_heads: int = Field(gt=0, le=1024)
    num_key_value_heads: int | None = Field(default=None, gt=0, le=1024)
    head_dim: int | None = Field(default=None, gt=0, le=1024)
    intermediate_size: int = Field(gt=0, le=1_048_576)
    hidden_act: Activation = "silu"
    rms_norm_eps: float = Field(default=1e-6, gt=0, le=1)
    rope_parameters: Rotation | None = None
    rope_scaling: Rotation | None = None
    rope_theta: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _give_each_head_its_keys(self) -> GatedDecoderFields:
        if "num_key_value_heads" in self.model_fields_set and self.num_key_value_heads is None:
            self.num_key_value_heads = self.num_attention_heads
        return self


_OTHER_CODE = refused("the stock model has no such option", SAME)

DECODER_OPTIONS: dict[str, Option] = {
    **COMMON_OPTIONS,
    "hidden_size": honoured("width of the model"),
    "num_hidden_layers": honoured("layers; tensors of further layers are left out"),
    "num_attention_heads": honoured("heads"),
    "tie_word_embeddings": honoured("whether the head's weight is that of the embeddings"),
    "attention_dropout": honoured("used while training"),
    "bos_token_id": honoured("carried into exports"),
    "eos_token_id": honoured("one or several tokens that end a text; carried into exports"),
    "pad_token_id": honoured("carried into exports; -1 is read as none"),
    "max_position_embeddings": honoured("the longest sequence"),
    "max_sequence_length": without_effect("max_position_embeddings is read"),
    "is_decoder": without_effect("these models are decoders"),
    "add_cross_attention": refused("a decoder's attention to an encoder", SAME),
    "unsloth_fixed": without_effect("who wrote the file"),
    "unsloth_version": without_effect("who wrote the file"),
    "pretraining_tp": without_effect("the order in which the same sums are taken"),
    "position_embedding_type": refused(
        "positions are those of the stock model", SAME, accepted=("rotary", "rope")
    ),
    "use_bidirectional_attention": refused("a token sees those behind it too", SAME),
    "logit_scale": _OTHER_CODE,
    "final_logit_softcapping": _OTHER_CODE,
    "attn_logit_softcapping": _OTHER_CODE,
}
"""The common ones, and those that all decoders share."""

GATED_DECODER_OPTIONS: dict[str, Option] = {
    **DECODER_OPTIONS,
    "num_key_value_heads": honoured("heads of keys and values; none: as many as heads"),
    "head_dim": honoured("channels of a head; none: hidden_size / num_attention_heads"),
    "intermediate_size": honoured("FFN width"),
    "hidden_act": honoured("the FFN's activation"),
    "rms_norm_eps": honoured("RMSNorm's epsilon"),
    "rope_parameters": honoured(
        "rotary positions: default, linear, yarn or llama3; others are refused"
    ),
    "rope_scaling": honoured("the name that Transformers 4 gives rope_parameters"),
    "rope_theta": honoured("the base of the rotary positions' frequencies"),
    "rope_interleaved": refused("neighbouring channels are rotated", SAME),
}
"""Those of decoders in LLaMA's layout."""


def older_rotation(config: PretrainedConfig) -> dict[str, Any]:
    """``rope_theta`` and ``rope_scaling``, of which Transformers 5 makes ``rope_parameters``."""
    scaling = dict(config.rope_parameters)
    theta = scaling.pop("rope_theta")
    is_plain = scaling.get("rope_type") == "default"
    return {"rope_theta": theta, "rope_scaling": None if is_plain else scaling}


GATED_DECODER_LINEARS: dict[Role, str] = {
    Role.QUERY: "self_attn.q_proj",
    Role.KEY: "self_attn.k_proj",
    Role.VALUE: "self_attn.v_proj",
    Role.ATTENTION_OUTPUT: "self_attn.o_proj",
    Role.FFN_IN: "mlp.up_proj",
    Role.FFN_GATE: "mlp.gate_proj",
    Role.FFN_OUT: "mlp.down_proj",
}
"""The linear layers of a block in LLaMA's layout."""


def gated_keys_and_values(
    block: Any, hidden: torch.Tensor, named: Mapping[str, Any]
) -> tuple[torch.Tensor, torch.Tensor]:
    """`KeysAndValues` of a block in LLaMA's layout; heads' keys are normed where it has a norm.

    ``named`` holds the ``position_embeddings``, cosines and sines (rows, tokens, head size).
    """
    attention = block.self_attn
    normed = block.input_layernorm(hidden)
    heads = (*hidden.shape[:-1], -1, attention.head_dim)
    keys, values = (layer(normed).view(heads) for layer in (attention.k_proj, attention.v_proj))
    norm = getattr(attention, "k_norm", nn.Identity())
    _, turned = apply_rotary_pos_emb(
        *2 * (norm(keys).transpose(1, 2),), *named["position_embeddings"]
    )
    return turned, values.transpose(1, 2)


def added_halves(attention: str, ffn: str) -> dict[Half, BlockHalf]:
    """The halves of blocks that norm what they read and add what they find to it.

    ``attention`` and ``ffn`` are the modules whose outputs are added.
    """
    return {
        "attention": BlockHalf(
            {attention: "zero, none", "input_layernorm": "same"},
            reads="input_layernorm",
            output=attention,
            adds=True,
        ),
        "ffn": BlockHalf(
            {ffn: "zero", "post_attention_layernorm": "same"},
            reads="post_attention_layernorm",
            output=ffn,
            adds=True,
        ),
    }
