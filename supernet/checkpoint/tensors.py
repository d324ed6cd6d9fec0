"""Tensors from safetensors files and, without ever running code, from PyTorch pickles."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.checkpoint.json_file import read_object, refuse_pointer
from elasticnas.supernet.checkpoint.quantised import PLAIN_DTYPES, refuse_quantised

Read = Callable[[Path, str], dict[str, torch.Tensor]]

_NOT_ALLOWED = re.compile(r"GLOBAL ([\w.]+)")
"""How torch names what a pickle would have had it import."""


def read_tensors(
    folder: Path, stem: str, *, label: str, leave_out: tuple[str, ...] = ()
) -> dict[str, torch.Tensor]:
    """All tensors of ``<stem>.safetensors`` or ``<stem>.bin`` in ``folder``, whole or in shards.

    A pickle is read with ``weights_only=True`` and nothing else: one that holds more than tensors
    is refused, with no way around it. Floating tensors come as float32, others as they are.

    Args:
        folder: where to look.
        stem: ``model`` or ``adapter_model``; for ``model`` the pickle is ``pytorch_model.bin``.
        label: how the folder is called in errors, e.g. ``base``.
        leave_out: ends of the names of tensors that are not looked at, whatever they hold.

    Raises:
        InputError: no such file, one that cannot be read, a tensor that holds NaN or infinity, or
            one that only quantised weights come with.
    """
    tensors: dict[str, torch.Tensor] = {}
    for file, read in _files(folder, stem, label):
        refuse_pointer(file, field=f"{label}/{file.name}")
        found = read(file, label)
        tensors.update({n: tensor for n, tensor in found.items() if not n.endswith(leave_out)})
    refuse_quantised(tensors, label=label)
    return {name: _checked(tensor, f"{label}/{name}") for name, tensor in tensors.items()}


def _checked(tensor: torch.Tensor, field: str) -> torch.Tensor:
    """A floating tensor in float32, any other as it is."""
    if tensor.layout is not torch.strided or tensor.is_meta:
        raise InputError(
            "the tensor is not stored in full", field=field, remedy="save it dense, on the CPU"
        )
    if tensor.dtype not in PLAIN_DTYPES:
        return tensor
    tensor = tensor.detach().float()
    if not torch.isfinite(tensor).all():
        raise InputError(
            "the tensor holds NaN or infinite values",
            field=field,
            remedy="export the checkpoint again from a run that did not diverge",
        )
    return tensor.contiguous()


def _files(folder: Path, stem: str, label: str) -> list[tuple[Path, Read]]:
    """The files that hold the tensors, and how to read them, in Transformers' order."""
    pickle_stem = "pytorch_model" if stem == "model" else stem
    for name, read in (
        (f"{stem}.safetensors", _read_safetensors),
        (f"{pickle_stem}.bin", _read_pickle),
    ):
        if (file := folder / name).is_file():
            return [(file, read)]
        if (index := folder / f"{name}.index.json").is_file():
            return [(folder / part, read) for part in _shards(index, label)]
    raise InputError(
        f"the folder holds neither {stem}.safetensors nor {pickle_stem}.bin",
        field=label,
        value=", ".join(sorted(path.name for path in folder.iterdir())) or "nothing",
    )


def _read_safetensors(file: Path, label: str) -> dict[str, torch.Tensor]:
    try:
        return load_file(file)
    except MemoryError:
        raise
    except Exception as error:  # among them a dtype that torch does not have
        raise InputError(
            f"the file is not readable as safetensors: {error}", field=f"{label}/{file.name}"
        ) from error


def _shards(index: Path, label: str) -> list[str]:
    """The file names of a sharded checkpoint, each a plain name in the index's own folder."""
    field = f"{label}/{index.name}"
    weight_map = read_object(index, field=field).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError("the index has no usable weight_map", field=field, value=weight_map)
    parts = sorted({str(part) for part in weight_map.values()})
    # Looked up in a listing: a name too long for the file system cannot be asked for.
    held = {path.name for path in index.parent.iterdir() if path.is_file()}
    for part in parts:
        if part not in held:
            raise InputError(
                "the index names a shard that is not in the folder",
                field=field,
                value=part,
                remedy="put every shard beside its index",
            )
    return parts


def _read_pickle(file: Path, label: str) -> dict[str, torch.Tensor]:
    field = f"{label}/{file.name}"
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # a crafted or damaged pickle can end in any of them
        raise _refused_pickle(error, field) from error
    if not isinstance(loaded, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor)
        for name, tensor in loaded.items()
    ):
        raise InputError(
            "the pickle is not a dictionary from names to tensors",
            field=field,
            remedy="save model.state_dict(), or save as safetensors",
        )
    return loaded


def _refused_pickle(error: Exception, field: str) -> InputError:
    """What is wrong with a pickle, without torch's advice to load it unsafely."""
    if (found := _NOT_ALLOWED.search(str(error))) is not None:
        return InputError(
            "the pickle holds more than tensors, and code in a checkpoint is never run",
            field=field,
            value=found[1],
            remedy="save model.state_dict() alone, with safetensors.torch.save_file",
        )
    return InputError(
        "the file is damaged, or is no dictionary of tensors that torch.save wrote",
        field=field,
        remedy="save model.state_dict() again, with safetensors.torch.save_file",
    )
