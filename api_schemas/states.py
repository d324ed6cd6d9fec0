"""States of what goes on by itself until it ends."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

FINAL = ("completed", "failed", "cancelled")


class RunState(StrEnum):
    """A state of a search or a job; each has its own others beside the final ones."""

    @property
    def is_final(self) -> bool:
        """True when nothing happens any more unless somebody asks for it."""
        return self.value in FINAL

    @classmethod
    def unfinished(cls) -> tuple[Self, ...]:
        """All that are not final."""
        return tuple(each for each in cls if not each.is_final)
