"""A PEFT LoRA folder: ``adapter_config.json`` with ``adapter_model.safetensors`` or ``.bin``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import regex
import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, StrictBool

from elasticnas.api_schemas.fields import FileText
from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.checkpoint.adapter_options import ADAPTER_OPTIONS
from elasticnas.supernet.checkpoint.json_file import read_object, validated
from elasticnas.supernet.checkpoint.layout import ADAPTER_CONFIG
from elasticnas.supernet.checkpoint.options import check_options
from elasticnas.supernet.checkpoint.quantised import require_plain
from elasticnas.supernet.checkpoint.tensor_names import adapter_name
from elasticnas.supernet.checkpoint.tensors import read_tensors
from elasticnas.supernet.plan import Join
from elasticnas.supernet.supernet import LoraAdapter

_PREFIX = "base_model.model."
_LORA = re.compile(r"^(?P<module>.+)\.lora_(?P<part>[AB])(?:\.default)?\.weight$")
_CONFIG = f"adapter/{ADAPTER_CONFIG}"

_MATCH_SECONDS = 1.0
"""How long a pattern of the file may look at one name: some would look for years."""

_DEFAULT_TARGETS = ["query", "value"]
"""PEFT's own choice for BERT and RoBERTa; for DistilBERT it has none."""


class _AdapterConfig(BaseModel):
    """The fields of a PEFT config that are honoured; `ADAPTER_OPTIONS` says of all others."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    base_model_name_or_path: FileText | None = None
    task_type: str | None = None
    peft_type: Literal["LORA"]
    r: int = Field(gt=0)
    lora_alpha: float = Field(gt=0)
    use_rslora: StrictBool = False
    rank_pattern: dict[str, PositiveInt] | None = None
    alpha_pattern: dict[str, Annotated[float, Field(gt=0)]] | None = None
    target_modules: list[str] | str | None = None
    exclude_modules: list[str] | str | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    modules_to_save: list[str] | None = None
    sparse_adapter: StrictBool | None = None


@dataclass(frozen=True)
class AdapterFolder:
    """LoRA branches by module name, and the other tensors of the file (the trained head).

    ``truncated`` are the modules whose branch has a smaller rank than it was trained with.
    ``base_name`` is what the adapter calls the base model it was trained on, ``saved_modules`` are
    ends of the names of modules that the file must hold in full.
    """

    adapters: dict[str, LoraAdapter]
    head: dict[str, torch.Tensor]
    truncated: frozenset[str] = frozenset()
    base_name: str | None = None
    saved_modules: tuple[str, ...] = ()
    task_type: str | None = None


def read_adapter(folder: Path) -> AdapterFolder:
    """Read an adapter folder as LoNAS (PEFT 0.5), Shears, SQFT or a stock PEFT writes it.

    The scaling of a module is alpha / maximal rank (alpha / sqrt(rank) for rank-stabilised LoRA),
    whatever rank is active later. The maximal rank is the config's: Shears and SQFT extract an
    adapter with fewer rows of lora_A and columns of lora_B, and leave the config as it was.

    Raises:
        InputError: not a LoRA adapter, an option that changes the arithmetic in a way not read
            here (`ADAPTER_OPTIONS`), a tensor that PEFT would not load, half of a pair missing,
            a rank above the config's, or a whole model in place of an adapter.
    """
    raw = read_object(folder / ADAPTER_CONFIG, field=_CONFIG)
    check_options(raw, ADAPTER_OPTIONS, field=_CONFIG)
    config = validated(_AdapterConfig, raw, field=_CONFIG)
    _refuse_whole_model(folder)
    pairs: dict[str, dict[str, torch.Tensor]] = {}
    head: dict[str, torch.Tensor] = {}
    for key, tensor in read_tensors(folder, "adapter_model", label="adapter").items():
        name = adapter_name(key).removeprefix(_PREFIX).replace(".modules_to_save.default", "")
        if (match := _LORA.match(name)) is not None:
            pair = pairs.setdefault(match["module"], {})
            if match["part"] in pair:
                raise InputError("the file holds this tensor twice", field=f"adapter/{key}")
            pair[match["part"]] = tensor
        elif "lora_" in name:
            raise InputError("this kind of LoRA tensor is not read", field=f"adapter/{key}")
        else:
            head[name] = tensor
    if not pairs:
        raise InputError("the file holds no LoRA tensors", field="adapter/adapter_model")
    for name in head:
        if name.rpartition(".")[0] in pairs:
            raise InputError(
                "the layer has an adapter, so PEFT would not load this tensor",
                field=f"adapter/{_PREFIX}{name}",
                remedy="put the layer's own weights into base/",
            )
    adapters = {module: _adapter(module, pair, config) for module, pair in pairs.items()}
    return AdapterFolder(
        adapters,
        head,
        frozenset(m for m, a in adapters.items() if a.a.shape[0] < _rank(m, config)),
        config.base_model_name_or_path,
        tuple(config.modules_to_save or ()),
        None if config.task_type is None else config.task_type.upper(),
    )


def _refuse_whole_model(folder: Path) -> None:
    """Refuse what Transformers' Trainer saves where it takes a PEFT model for any other."""
    whole = sorted(path.name for path in folder.glob("pytorch_model*"))
    if whole and not list(folder.glob("adapter_model*")):
        raise InputError(
            "this is the whole model that was trained, under the names that NNCF and PEFT gave its "
            "parts, and no adapter",
            field=f"adapter/{whole[0]}",
            remedy="save the adapter alone, with PeftModel.save_pretrained: the Trainer does so "
            "where it finds the package metadata of PEFT",
        )


def _adapter(module: str, pair: dict[str, torch.Tensor], config: _AdapterConfig) -> LoraAdapter:
    for part in "AB":
        field = f"{_PREFIX}{module}.lora_{part}.weight"
        if part not in pair:
            raise InputError("the adapter file lacks this tensor", field=f"adapter/{field}")
        require_plain(field, pair[part], label="adapter")
    if (option := _unloaded_by(module, config)) is not None:
        raise InputError(
            f"PEFT would not load the file's adapter of {module}: {option} leaves it out",
            field=f"{_CONFIG}/{option}",
            value=getattr(config, option),
            remedy="use the adapter_config.json that belongs to the file",
        )
    a, b, rank = pair["A"], pair["B"], _rank(module, config)
    if a.ndim != 2 or b.ndim != 2 or not 0 < a.shape[0] == b.shape[1] <= rank:
        raise InputError(
            f"lora_A of shape {tuple(a.shape)} and lora_B of shape {tuple(b.shape)} do not have "
            f"the rank {rank} of adapter_config.json, nor both a smaller one",
            field=f"adapter/{_PREFIX}{module}",
        )
    alpha = _pattern(config.alpha_pattern, module, config.lora_alpha, "alpha_pattern")
    join = Join.MASKED if config.sparse_adapter else Join.PLAIN
    scaling = alpha / (math.sqrt(rank) if config.use_rslora else rank)
    return LoraAdapter(a.float(), b.float(), scaling, join)


def _rank(module: str, config: _AdapterConfig) -> int:
    """The rank that a module's adapter was trained with."""
    return int(_pattern(config.rank_pattern, module, config.r, "rank_pattern"))


def _unloaded_by(module: str, config: _AdapterConfig) -> str | None:
    """The option for which PEFT gives ``module`` no adapter, None where it gives it one.

    PEFT's ``check_target_module_exists``, less ``all-linear``, which takes any linear layer.
    """
    if config.exclude_modules and _names(config.exclude_modules, module, "exclude_modules"):
        return "exclude_modules"
    for saved in config.modules_to_save or ():
        if _search(rf"(^|.*\.){saved}($|\..*)", module, "modules_to_save"):
            return "modules_to_save"
    targets = _DEFAULT_TARGETS if config.target_modules is None else config.target_modules
    if isinstance(targets, str) and targets.lower() == "all-linear":
        return None
    if not _names(targets, module, "target_modules"):
        return "target_modules"
    wanted = config.layers_to_transform
    wanted = [wanted] if isinstance(wanted, int) else wanted
    # PEFT looks at the layers only where the targets are a list that names the module by its end.
    if not wanted or isinstance(targets, str) or module in targets:
        return None
    return None if _layer(module, config.layers_pattern) in wanted else "layers_to_transform"


def _names(modules: list[str] | str, module: str, option: str) -> bool:
    """PEFT's rule: a string is a pattern of whole names, a list holds names or ends of them."""
    if isinstance(modules, str):
        return _search(modules, module, option, whole=True) is not None
    return any(module == name or module.endswith(f".{name}") for name in modules)


def _layer(module: str, patterns: list[str] | str | None) -> int | None:
    """The number of a module's layer, as PEFT finds it."""
    places = [patterns] if isinstance(patterns, str) else patterns
    for place in places or [r"[^.]*"]:
        start = r".*?\." if not places else r"(?:^|.*?\.)"
        if found := _search(rf"{start}{place}\.(?P<index>\d+)\.", module, "layers_pattern"):
            return int(found["index"])
    return None


def _search(
    pattern: str, module: str, option: str, *, whole: bool = False
) -> regex.Match[str] | None:
    """The pattern's match. PEFT's patterns are those of `re`, which cannot be stopped."""
    field = f"{_CONFIG}/{option}"
    match = regex.fullmatch if whole else regex.match
    try:
        re.compile(pattern)
        return match(pattern, module, timeout=_MATCH_SECONDS)
    except (re.error, regex.error, OverflowError, RecursionError) as error:
        raise InputError(f"this is no pattern: {error}", field=field, value=pattern) from error
    except TimeoutError as error:
        raise InputError(
            f"this pattern takes too long to match {module}",
            field=field,
            value=pattern,
            remedy="repeat no group that itself holds a repetition, or list the modules' names",
        ) from error


def _pattern(
    patterns: dict[str, int] | dict[str, float] | None, module: str, value: float, option: str
) -> float:
    """PEFT's rule: a pattern matches a module's whole name or a dotted end of it."""
    for pattern, found in (patterns or {}).items():
        if _search(rf"(.*\.)?({pattern})", module, option, whole=True):
            return found
    return value
