"""Packing a checkpoint into the archive that the server takes."""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.checkpoint.layout import (
    base_folder,
    refuse_adapter_in,
    refuse_stray_adapters,
)

BASE_PATTERNS = (
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model-*.bin",
    "pytorch_model.bin.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
SPACE_FILES = ("search_space.json", "nncf_config.json", "elastic_adapter_config.json")
ADAPTER_SPACES = tuple(f"adapter/{name}" for name in SPACE_FILES[1:])
"""Those that training writes beside the adapter."""
ADAPTER_PATTERNS = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
    "pytorch_model.bin",  # a whole model in its place: the server says what to do about it
    *SPACE_FILES[1:],
)


@contextmanager
def packed(
    checkpoint: Path | None, base: Path | None, adapter: Path | None, space: Path | None
) -> Iterator[Path]:
    """An archive to upload: a file as it is, or a temporary one packed from folders.

    Only what the reader needs goes in; a training folder's checkpoints and logs stay behind.

    Args:
        checkpoint: an archive, or a folder in the documented layout.
        base, adapter: or its parts, wherever they are.
        space: the search space, beside parts or a folder that may have another.

    Raises:
        InputError: neither or both were given, a part does not exist, or an archive has the parts
            that are named.
    """
    if (checkpoint is None) == (base is None):
        raise InputError(
            "give either a checkpoint, or its parts",
            field="checkpoint",
            remedy="elasticnas supernet add PATH, or --base DIR [--adapter DIR] --space FILE",
        )
    if checkpoint is not None and adapter is not None:
        raise InputError(
            "a checkpoint has its adapter within",
            field="adapter",
            value=adapter,
            remedy="put it into the checkpoint's adapter/, or give --base instead",
        )
    if checkpoint is not None and checkpoint.is_file():
        if space is not None:
            raise InputError(
                "an archive is sent as it is",
                field="space",
                value=space,
                remedy="put the search space into the archive, or give --base and --adapter",
            )
        yield checkpoint
        return
    if checkpoint is not None:
        members = _members_of_folder(checkpoint, space)
    else:
        assert base is not None
        members = _members_of_parts(base, adapter, space)
    with _archive(members) as archive:
        yield archive


@contextmanager
def packed_model(folder: Path) -> Iterator[Path]:
    """A temporary archive of a pretrained model's folder, to upload.

    Raises:
        InputError: it holds nothing of a model.
    """
    with _archive(_matching("model", folder, BASE_PATTERNS)) as archive:
        yield archive


@contextmanager
def _archive(members: Mapping[str, Path]) -> Iterator[Path]:
    """A temporary tar of these files by their names in it."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "checkpoint.tar"
        with tarfile.open(archive, "w", dereference=True) as tar:
            for name, path in members.items():
                tar.add(path, arcname=name, recursive=False)
        yield archive


def _members_of_folder(folder: Path, space: Path | None) -> dict[str, Path]:
    """Archive names and the files behind them; of every space, so that the server sees several."""
    if not folder.is_dir():
        raise InputError("there is no such file or folder", field="checkpoint", value=folder)
    refuse_stray_adapters(folder)
    adapter = folder / "adapter"
    members = _members_of_model(base_folder(folder), adapter if adapter.is_dir() else None)
    members |= {name: folder / name for name in SPACE_FILES if (folder / name).is_file()}
    return _with_a_space(members, space)


def _members_of_parts(base: Path, adapter: Path | None, space: Path | None) -> dict[str, Path]:
    """Archive names and the files behind them."""
    return _with_a_space(_members_of_model(base, adapter), space)


def _members_of_model(base: Path, adapter: Path | None) -> dict[str, Path]:
    members = _matching("base", base, BASE_PATTERNS)
    if adapter is None or adapter.resolve() != base.resolve():
        refuse_adapter_in(base, label="base/")
    if adapter is not None:
        members |= _matching("adapter", adapter, ADAPTER_PATTERNS)
    return members


def _with_a_space(members: dict[str, Path], space: Path | None) -> dict[str, Path]:
    """The members, of which one says what is elastic: ``space`` and no other where it is named."""
    known = (*SPACE_FILES, *ADAPTER_SPACES)
    if space is not None and space.is_file():
        members = {name: path for name, path in members.items() if name not in known}
        return members | {_space_name(space): space}
    if space is not None or not any(name in members for name in known):
        raise InputError(
            "the checkpoint has no search space",
            field="space",
            value=space,
            remedy=f"add one of {', '.join(SPACE_FILES)}, or name it with --space",
        )
    return members


def _is_debris(path: Path) -> bool:
    """Whether a file system or a desktop put it there: hidden files, macOS's ._ files, Windows's.

    A pattern such as `*.safetensors` would take them for part of the model.
    """
    return path.name.startswith(".") or path.name.lower() in ("thumbs.db", "desktop.ini")


def _matching(part: str, folder: Path, patterns: tuple[str, ...]) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError("there is no such folder", field=part, value=folder)
    found = {
        f"{part}/{path.name}": path
        for pattern in patterns
        for path in sorted(folder.glob(pattern))
        if path.is_file() and not _is_debris(path)
    }
    if not found:
        raise InputError("the folder holds nothing of a model", field=part, value=folder)
    return found


def _space_name(space: Path) -> str:
    """A name by which the server knows what the file is; it need not be its name here."""
    if space.name in SPACE_FILES:
        return space.name
    try:
        content = json.loads(space.read_bytes())  # in whichever UTF, with a byte order mark or not
    except ValueError:
        return "nncf_config.json"  # ours is strict JSON; NNCF allows comments
    if isinstance(content, list):
        return "elastic_adapter_config.json"
    ours = isinstance(content, dict) and "dimensions" in content
    return "search_space.json" if ours else "nncf_config.json"
