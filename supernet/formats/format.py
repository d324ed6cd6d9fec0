"""What a format is: how a checkpoint says which of its parts are elastic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from elasticnas.supernet.plan import ElasticPart, ModelShape


def _by_name(_folder: Path, _file: str) -> bool:
    """A file's name alone tells its format."""
    return True


@dataclass(frozen=True)
class Format:
    """The format of a published method, or our own.

    ``name`` is what a super-network's ``method`` tells. ``files`` are the paths in a checkpoint's
    folder where the format says what is elastic. Where other formats use a file of the same name,
    ``is_meant`` tells from its content whether one that is there is of this format; it raises
    `InputError` for a file that cannot be read.

    ``read`` gives the space, the slicing plan, the reference length and how adapters are joined, of
    the folder and the shape of the model in it, and raises `InputError` for what it cannot read.
    """

    name: str
    files: tuple[str, ...]
    read: Callable[[Path, ModelShape], ElasticPart]
    is_meant: Callable[[Path, str], bool] = _by_name

    def marks(self, folder: Path) -> list[str]:
        """The files in a checkpoint's folder that are of this format."""
        return [f for f in self.files if (folder / f).is_file() and self.is_meant(folder, f)]

    def recognises(self, folder: Path) -> bool:
        """Whether a checkpoint's folder is of this format."""
        return bool(self.marks(folder))
