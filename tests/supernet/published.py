"""The published super-adapters of causal language models, as the checkpoints that are read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.supernet import Supernet

BASES = {
    "lonas-llama-textkind": "llama-base",
    "shears-llama-textkind": "llama-base-sparse50",
    "sqft-llama-textkind": "llama-base-sparse50",
    "sqft-llama-sparsepeft-textkind": "llama-base-sparse50",
}


def published(data: Path, name: str, folder: Path) -> Supernet:
    """One of `BASES`, with the base that it was trained on."""
    (folder / "base").symlink_to(data / BASES[name])
    (folder / "adapter").mkdir()
    for file in (data / name).iterdir():
        if file.name.startswith("nncf_"):
            shutil.copy(file, folder / "nncf_config.json")
        elif file.name != "reference.json":
            shutil.copy(file, folder / "adapter" / file.name)
    return read_supernet(folder)


def references(data: Path, name: str) -> list[dict[str, Any]]:
    """What the original computed, subnet by subnet."""
    found: list[dict[str, Any]] = json.loads((data / name / "reference.json").read_text())
    return found


def subnet_of(supernet: Supernet, entry: Mapping[str, Any]) -> SubnetConfig:
    """The subnet of a reference, whose widths or ranks come in the order of the dimensions."""
    chosen = entry.get("ranks") or [
        entry["widths"][str(index)] for index in range(len(entry["widths"]))
    ]
    names = [dimension.name for dimension in supernet.space.dimensions]
    return supernet.space.subnet(dict(zip(names, chosen, strict=True)))
