"""What a format is: how a checkpoint says which of its parts are elastic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from elasticnas.supernet.plan import ElasticPart, ModelShape


@dataclass(frozen=True)
class Format:
    """The format of a published method, or our own.

    ``name`` is what a super-network's ``method`` tells. ``file`` marks a folder as of this format;
    ``read`` gives the space, the slicing plan, the reference length and how adapters are joined, of
    the folder and the shape of the model in it, and raises `InputError` for what it cannot read.
    """

    name: str
    file: str
    read: Callable[[Path, ModelShape], ElasticPart]

    def recognises(self, folder: Path) -> bool:
        """Whether a checkpoint's folder is of this format."""
        return (folder / self.file).is_file()
