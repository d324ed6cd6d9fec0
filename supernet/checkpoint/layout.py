"""Where the parts of a checkpoint lie. Imports no torch: the command line looks too."""

from __future__ import annotations

from pathlib import Path

from elasticnas.api_schemas.problems import InputError

ADAPTER_CONFIG = "adapter_config.json"


def base_folder(folder: Path) -> Path:
    """Where a checkpoint's model lies: in ``base/``, or at the top, where EFTNAS writes it.

    Errors call its files ``base/...`` in either case.
    """
    base = folder / "base"
    return folder if not base.is_dir() and (folder / "config.json").is_file() else base


def refuse_stray_adapters(folder: Path) -> None:
    """Refuse an adapter that would be left out in silence, because it is not in ``adapter/``.

    Transformers loads one that lies beside the base model's weights. One elsewhere is refused
    where ``adapter/`` is missing; beside it, it may be a checkpoint of the training.

    Raises:
        InputError: a folder holds an ``adapter_config.json`` and is not the one for it.
    """
    refuse_adapter_in(folder / "base", label="base/")
    if (folder / "adapter").is_dir():
        return
    refuse_adapter_in(folder, label="")
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        refuse_adapter_in(part, label=f"{part.name}/")


def refuse_adapter_in(folder: Path, *, label: str) -> None:
    """Refuse an adapter in a folder that is not for one; ``label`` is how errors call it.

    Raises:
        InputError: the folder holds an ``adapter_config.json``.
    """
    if (folder / ADAPTER_CONFIG).is_file():
        raise InputError(
            "an adapter is read from the folder adapter/ only",
            field=f"{label}{ADAPTER_CONFIG}",
            remedy="put it into adapter/, with its weights",
        )
