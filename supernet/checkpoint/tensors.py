"""Tensors from safetensors files and, without ever running code, from PyTorch pickles.

Files are mapped, not read: a tensor is a view of its file's pages, which come into memory when
somebody looks at them, and which the system takes back when it needs the room. A mapping is private
(``MAP_PRIVATE``), so nothing that is done to a tensor reaches the file; and it outlives the file's
name.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.checkpoint.json_file import read_object, refuse_pointer
from elasticnas.supernet.checkpoint.mapping import looked_at
from elasticnas.supernet.checkpoint.quantised import PLAIN_DTYPES, refuse_quantised

Tensors = dict[str, torch.Tensor]
Read = Callable[[Path, str], Tensors]

_NOT_ALLOWED = re.compile(r"GLOBAL ([\w.]+)")
"""How torch names what a pickle would have had it import."""


def read_tensors(
    folder: Path, stem: str, *, label: str, leave_out: tuple[str, ...] = ()
) -> Tensors:
    """All tensors of ``<stem>.safetensors`` or ``<stem>.bin`` in ``folder``, whole or in shards.

    Each is in the dtype of its file, and mapped from it. Every number is looked at once, a tensor
    at a time, and no large one stays in memory for that (`looked_at`).

    A pickle is read with ``weights_only=True`` and nothing else: one that holds more than tensors
    is refused, with no way around it.

    Args:
        folder: where to look.
        stem: ``model`` or ``adapter_model``; for ``model`` the pickle is ``pytorch_model.bin``.
        label: how the folder is called in errors, e.g. ``base``.
        leave_out: ends of the names of tensors that are not looked at, whatever they hold.

    Raises:
        InputError: no such file, one that cannot be read, a tensor that holds NaN or infinity, or
            one that only quantised weights come with.
    """
    files = _files(folder, stem, label)
    tensors: Tensors = {}
    for file, read in files:
        refuse_pointer(file, field=f"{label}/{file.name}")
        found = {n: each for n, each in read(file, label).items() if not n.endswith(leave_out)}
        refuse_quantised(found, label=label)
        for name, tensor in found.items():
            _check(tensor, f"{label}/{name}")
        tensors.update(found)
    return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}


def _check(tensor: torch.Tensor, field: str) -> None:
    if tensor.layout is not torch.strided or tensor.is_meta:
        raise InputError(
            "the tensor is not stored in full", field=field, remedy="save it dense, on the CPU"
        )
    if tensor.dtype not in PLAIN_DTYPES or tensor.numel() == 0:
        return
    # NaN is passed on, so two numbers stand for all, and nothing is as large as the tensor.
    with looked_at(tensor.detach()) as numbers:
        is_finite = bool(torch.stack(numbers.aminmax()).isfinite().all())
    if not is_finite:
        raise InputError(
            "the tensor holds NaN or infinite values",
            field=field,
            remedy="export the checkpoint again from a run that did not diverge",
        )


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


def _read_safetensors(file: Path, label: str) -> Tensors:
    try:
        with safe_open(file, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
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


def _read_pickle(file: Path, label: str) -> Tensors:
    field = f"{label}/{file.name}"
    try:
        # Before 2020 torch wrote no archives, and such files cannot be mapped.
        is_archive = zipfile.is_zipfile(file)
        loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=is_archive)
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
