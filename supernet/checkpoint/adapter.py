"""A PEFT LoRA folder: ``adapter_config.json`` with ``adapter_model.safetensors`` or ``.bin``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from api_schemas.problems import InputError
from supernet.checkpoint.json_file import read_object, validated
from supernet.checkpoint.tensors import read_tensors
from supernet.supernet import LoraAdapter

_PREFIX = "base_model.model."
_LORA = re.compile(r"^(?P<module>.+)\.lora_(?P<part>[AB])(?:\.default)?\.weight$")


class _AdapterConfig(BaseModel):
    """The fields of a PEFT config that change what an adapter computes (PEFT 0.5 and later)."""

    model_config = ConfigDict(extra="ignore")

    base_model_name_or_path: str | None = None
    peft_type: Literal["LORA"]
    r: int = Field(gt=0)
    lora_alpha: float = Field(gt=0)
    bias: Literal["none"] = "none"
    fan_in_fan_out: Literal[False] = False
    use_dora: Literal[False] = False
    use_rslora: bool = False
    rank_pattern: dict[str, int] | None = None
    alpha_pattern: dict[str, float] | None = None


@dataclass(frozen=True)
class AdapterFolder:
    """LoRA branches by module name, and the other tensors of the file (the trained head).

    ``base_name`` is what the adapter calls the base model it was trained on.
    """

    adapters: dict[str, LoraAdapter]
    head: dict[str, torch.Tensor]
    base_name: str | None = None


def read_adapter(folder: Path) -> AdapterFolder:
    """Read an adapter folder as LoNAS (PEFT 0.5), Shears or a stock PEFT writes it.

    The scaling of a module is alpha / maximal rank (alpha / sqrt(rank) for rank-stabilised LoRA),
    whatever rank is active later.

    Raises:
        InputError: not a LoRA adapter, an option that changes the arithmetic in a way not read
            here (DoRA, trained biases), half of a pair missing, or a rank that is not the config's.
    """
    field = "adapter/adapter_config.json"
    raw = read_object(folder / "adapter_config.json", field=field)
    config = validated(_AdapterConfig, raw, field=field)
    pairs: dict[str, dict[str, torch.Tensor]] = {}
    head: dict[str, torch.Tensor] = {}
    for key, tensor in read_tensors(folder, "adapter_model", label="adapter").items():
        name = key.removeprefix(_PREFIX).replace(".modules_to_save.default", "")
        if (match := _LORA.match(name)) is not None:
            pairs.setdefault(match["module"], {})[match["part"]] = tensor
        elif "lora_" in name:
            raise InputError("this kind of LoRA tensor is not read", field=f"adapter/{key}")
        else:
            head[name] = tensor
    if not pairs:
        raise InputError("the file holds no LoRA tensors", field="adapter/adapter_model")
    adapters = {module: _adapter(module, pair, config) for module, pair in pairs.items()}
    return AdapterFolder(adapters, head, config.base_model_name_or_path)


def _adapter(module: str, pair: dict[str, torch.Tensor], config: _AdapterConfig) -> LoraAdapter:
    for part in "AB":
        if part not in pair:
            raise InputError(
                "the adapter file lacks this tensor",
                field=f"adapter/{_PREFIX}{module}.lora_{part}.weight",
            )
    a, b = pair["A"], pair["B"]
    rank = int(_pattern(config.rank_pattern, module, config.r))
    if a.ndim != 2 or b.ndim != 2 or a.shape[0] != rank or b.shape[1] != rank:
        raise InputError(
            f"lora_A of shape {tuple(a.shape)} and lora_B of shape {tuple(b.shape)} do not have "
            f"the rank {rank} of adapter_config.json",
            field=f"adapter/{_PREFIX}{module}",
        )
    alpha = _pattern(config.alpha_pattern, module, config.lora_alpha)
    return LoraAdapter(a, b, alpha / (math.sqrt(rank) if config.use_rslora else rank))


def _pattern(
    patterns: dict[str, int] | dict[str, float] | None, module: str, value: float
) -> float:
    """PEFT's rule: a pattern matches a module's whole name or a dotted end of it."""
    for pattern, found in (patterns or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", module):
            return found
    return value
