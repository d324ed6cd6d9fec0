"""The names that tensors have in a classifier, whatever wrapped the model when it was saved."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.architectures import Architecture

_WRAPPERS = re.compile(
    r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\."
)
"""What torch.compile, FSDP, activation checkpointing and Lightning put in, at any depth."""

_OUTER = ("module", "model", "base_model")
"""Attributes under which DataParallel, DDP and training classes hold the model they save."""

_WORDS = "embeddings.word_embeddings.weight"


def classifier_names(
    tensors: Mapping[str, torch.Tensor], architecture: Architecture
) -> dict[str, torch.Tensor]:
    """A base model's tensors under the names they have in the classifier.

    A bare encoder is stored without its prefix, checkpoints from before 2019 call the weights of a
    LayerNorm gamma and beta, and what wrapped the model left its own prefixes.

    Raises:
        InputError: the names have a prefix that is not known, two tensors come to one name, or the
            tensors are those of a model that PEFT has wrapped.
    """
    renamed = _renamed(tensors, _stock_name)
    outer = _outer_prefix(renamed, architecture)
    if outer:
        renamed = _renamed(renamed, lambda name: name.removeprefix(outer))
    encoder = f"{architecture.encoder}."
    if any(name.startswith(encoder) for name in renamed):
        return renamed
    return {encoder + name: tensor for name, tensor in renamed.items()}


def adapter_name(key: str) -> str:
    """A name in an adapter file without what wrapped the model, PEFT's own prefix left on."""
    return _WRAPPERS.sub("", key).removeprefix("module.")


def _stock_name(name: str) -> str:
    name = _WRAPPERS.sub("", name)
    if ".lora_" in name or ".base_layer." in name:
        raise InputError(
            "the base model holds the tensors of an adapter",
            field=f"base/{name}",
            remedy="save the adapter with PeftModel.save_pretrained into adapter/, and the base "
            "model without it",
        )
    name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
    return name.replace("LayerNorm.beta", "LayerNorm.bias")


def _outer_prefix(tensors: Mapping[str, torch.Tensor], architecture: Architecture) -> str:
    """What stands before the names of the classifier, or of a bare encoder, in this file."""
    found = {name.removesuffix(_WORDS) for name in tensors if name.endswith(_WORDS)}
    found = {prefix.removesuffix(f"{architecture.encoder}.") for prefix in found}
    if not found:
        return ""  # the tensor is named as missing later
    prefix = found.pop()
    known = all(part in _OUTER for part in prefix.rstrip(".").split(".")) or not prefix
    if found or not known:
        raise InputError(
            "the names of the tensors have a prefix that is not known"
            if not found
            else "the file holds more than one model",
            field=f"base/{prefix}{_WORDS}",
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
