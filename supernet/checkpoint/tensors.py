"""Tensors from safetensors files and, without ever running code, from PyTorch pickles."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from api_schemas.problems import InputError


def read_tensors(folder: Path, stem: str, *, label: str) -> dict[str, torch.Tensor]:
    """All tensors of ``<stem>.safetensors`` (whole or sharded) or ``<stem>.bin`` in ``folder``.

    A pickle is read with ``weights_only=True`` and nothing else: one that holds more than tensors
    is refused, with no way around it. Floating tensors come as float32.

    Args:
        folder: where to look.
        stem: ``model`` or ``adapter_model``; for ``model`` the pickle is ``pytorch_model.bin``.
        label: how the folder is called in errors, e.g. ``base``.

    Raises:
        InputError: no such file, one that cannot be read, or a tensor that holds NaN or infinity.
    """
    pickle_stem = "pytorch_model" if stem == "model" else stem
    if (file := folder / f"{stem}.safetensors").is_file():
        tensors = _read_safetensors(file, label)
    elif (index := folder / f"{stem}.safetensors.index.json").is_file():
        tensors = {}
        for part in _shards(index, label):
            tensors.update(_read_safetensors(folder / part, label))
    elif (file := folder / f"{pickle_stem}.bin").is_file():
        tensors = _read_pickle(file, label)
    else:
        raise InputError(
            f"the folder holds neither {stem}.safetensors nor {pickle_stem}.bin",
            field=label,
            value=", ".join(sorted(path.name for path in folder.iterdir())) or "nothing",
        )
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            if not torch.isfinite(tensor).all():
                raise InputError(
                    "the tensor holds NaN or infinite values",
                    field=f"{label}/{name}",
                    remedy="export the checkpoint again from a run that did not diverge",
                )
            tensors[name] = tensor.float()
    return tensors


def _read_safetensors(file: Path, label: str) -> dict[str, torch.Tensor]:
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"the file is not readable as safetensors: {error}", field=f"{label}/{file.name}"
        ) from error


def _shards(index: Path, label: str) -> Iterable[str]:
    """The file names of a sharded checkpoint, each a plain name in the index's own folder."""
    try:
        parts = set(json.loads(index.read_text())["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(
            "the index has no usable weight_map", field=f"{label}/{index.name}"
        ) from error
    for part in sorted(parts):
        if Path(part).name != part or not (index.parent / part).is_file():
            raise InputError(
                "the index names a shard that is not in the folder",
                field=f"{label}/{index.name}",
                value=part,
            )
    return sorted(parts)


def _read_pickle(file: Path, label: str) -> dict[str, torch.Tensor]:
    field = f"{label}/{file.name}"
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        cause = str(error).strip().splitlines()[0][:300]
        raise InputError(
            f"the pickle is not a plain dictionary of tensors: {cause}",
            field=field,
            remedy="save the tensors as safetensors",
        ) from error
    if not isinstance(loaded, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor)
        for name, tensor in loaded.items()
    ):
        raise InputError(
            "the pickle is not a dictionary from names to tensors",
            field=field,
            remedy="save model.state_dict(), or save as safetensors",
        )
    return {name: tensor.contiguous() for name, tensor in loaded.items()}
