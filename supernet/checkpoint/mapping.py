"""Looking at mapped tensors without keeping in memory what was looked at.

A page of a mapped file that was read stays in a process's memory until the system needs the room.
Who only looks at every number once, as a registration does, maps the tensor a second time, and
gives the pages back with that mapping.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

MAPPINGS = Path("/proc/self/maps")
"""Where Linux lists what is mapped from which file."""

SMALLEST = 2**20
"""Bytes of a tensor for which a second mapping is worth the time that it takes."""


@dataclass(frozen=True)
class Region:
    """The bytes of a ``file`` from ``offset`` on."""

    file: Path
    offset: int


@contextmanager
def looked_at(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The same numbers, to be read within the block, in pages that go with it.

    One that is small, was written to (its page is then no longer the file's), or is not mapped
    from a file that is still there, is given as it is.
    """
    is_worth_it = tensor.nbytes >= SMALLEST and tensor.is_contiguous()
    region = region_of(tensor) if is_worth_it and not _is_changed(tensor) else None
    if region is None or region.offset % tensor.itemsize:
        yield tensor
        return
    end = region.offset + tensor.nbytes
    mapping = torch.UntypedStorage.from_file(str(region.file), shared=False, nbytes=end)
    flat = torch.empty(0, dtype=tensor.dtype).set_(mapping[region.offset :])
    yield flat.view(tensor.shape)


def region_of(tensor: torch.Tensor) -> Region | None:
    """Where in a file a contiguous tensor lies; None for one in memory of its own.

    None too for a file that is no longer there under its name, and on other systems than Linux.
    """
    first = tensor.data_ptr()
    try:
        lines = MAPPINGS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    for line in lines:
        bounds, _, offset, _, inode, *name = line.split(maxsplit=5)
        start, end = (int(bound, 16) for bound in bounds.split("-"))
        if not start <= first < end:
            continue
        file = Path(name[0]) if name else None
        if file is None or first + tensor.nbytes > end or not _is(file, int(inode)):
            return None
        return Region(file, int(offset, 16) + first - start)
    return None


def _is_changed(tensor: torch.Tensor) -> bool:
    """Whether torch has written to it in place; of a tensor made for inference nobody knows."""
    return tensor.is_inference() or tensor._version > 0


def _is(file: Path, inode: int) -> bool:
    """Whether this is the very file, not another that has taken its name."""
    try:
        return inode != 0 and file.stat().st_ino == inode
    except OSError:
        return False
