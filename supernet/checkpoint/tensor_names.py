"""The names that tensors have in a model, whatever wrapped the model when it was saved."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial

import torch
from transformers import PreTrainedModel

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.families.family import Family

_WRAPPERS = re.compile(
    r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\."
)
"""What torch.compile, FSDP, activation checkpointing and Lightning put in, at any depth."""

_OUTER = ("module", "model", "base_model")
"""Attributes under which DataParallel, DDP and training classes hold the model they save."""


def model_names(tensors: Mapping[str, torch.Tensor], family: Family) -> dict[str, torch.Tensor]:
    """A base model's tensors under the names they have in a model with a task's head.

    A bare model is stored without its prefix, old programs had other names for some tensors
    (`Family.old_names`), and what wrapped the model left its own prefixes.

    Raises:
        InputError: the names have a prefix that is not known, two tensors come to one name, or the
            tensors are those of a model that PEFT has wrapped.
    """
    renamed = _renamed(tensors, partial(_stock_name, family))
    outer = _outer_prefix(renamed, family)
    if outer:
        renamed = _renamed(renamed, lambda name: name.removeprefix(outer))
    prefix = f"{family.model}."
    if any(name.startswith(prefix) for name in renamed):
        return renamed
    return {prefix + name: tensor for name, tensor in renamed.items()}


def stored_tensors(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """What a file holds of a model: of a tied weight, which has two names, the first alone."""
    first_names = {*dict(model.named_parameters()), *dict(model.named_buffers())}
    return {name: t for name, t in model.state_dict().items() if name in first_names}


def adapter_name(key: str) -> str:
    """A name in an adapter file without what wrapped the model, PEFT's own prefix left on."""
    return _WRAPPERS.sub("", key).removeprefix("module.")


def _stock_name(family: Family, name: str) -> str:
    name = _WRAPPERS.sub("", name)
    if ".lora_" in name or ".base_layer." in name:
        raise InputError(
            "the base model holds the tensors of an adapter",
            field=f"base/{name}",
            remedy="save the adapter with PeftModel.save_pretrained into adapter/, and the base "
            "model without it",
        )
    if ".pre_ops." in name:
        raise InputError(
            "the file holds scores of importance, as NNCF's movement sparsity learns them: EFTNAS "
            "orders channels by them, and this is not the super-network",
            field=f"base/{name}",
            remedy="register the folder that holds movement_sparsity_*/ beside the trained "
            "super-network's pytorch_model.bin and nncf_config.json",
        )
    for old, new in family.old_names.items():
        name = name.replace(old, new)
    for own, stored in family.stored_names.items():
        if name.startswith(stored):
            return own + name.removeprefix(stored)
    return name


def _outer_prefix(tensors: Mapping[str, torch.Tensor], family: Family) -> str:
    """What stands before the names of a task's model, or of a bare one, in this file."""
    words = f"{family.words}.weight"
    found = {name.removesuffix(words) for name in tensors if name.endswith(words)}
    found = {prefix.removesuffix(f"{family.model}.") for prefix in found}
    if not found:
        return ""  # the tensor is named as missing later
    prefix = found.pop()
    known = all(part in _OUTER for part in prefix.rstrip(".").split(".")) or not prefix
    if found or not known:
        raise InputError(
            "the names of the tensors have a prefix that is not known"
            if not found
            else "the file holds more than one model",
            field=f"base/{prefix}{words}",
            value=", ".join(sorted({prefix, *found})),
            remedy="save the stock classifier alone, with its save_pretrained",
        )
    return prefix


def _renamed(
    tensors: Mapping[str, torch.Tensor], rename: Callable[[str], str]
) -> dict[str, torch.Tensor]:
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        current = rename(name)
        if current in renamed:
            raise InputError(
                "two tensors of the file have this name once their prefixes are taken off",
                field=f"base/{current}",
                value=name,
            )
        renamed[current] = tensor
    return renamed
