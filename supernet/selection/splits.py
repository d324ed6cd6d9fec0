"""Which rows adapters learn from, and which their gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from elasticnas.api_schemas.flexora_training import FlexoraSettings, OuterRows, Repeats
from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.training.loop import drawn_rows


@dataclass(frozen=True)
class Split:
    """The numbers of the rows that adapters learn from, and of those for the gates."""

    inner: tuple[int, ...]
    outer: tuple[int, ...]


def split_rows(settings: FlexoraSettings, count: int, seed: int) -> Split:
    """The split of ``count`` rows for one repeat, which has this seed.

    Raises:
        InputError: one part would be empty.
    """
    generator = torch.Generator().manual_seed(seed)
    found = _parts(settings, count, generator)
    if settings.repeat_by is Repeats.BOOTSTRAP:
        found = Split(_redrawn(found.inner, generator), _redrawn(found.outer, generator))
    return found


def _parts(settings: FlexoraSettings, count: int, generator: torch.Generator) -> Split:
    if settings.outer is OuterRows.TRAINING:
        return Split(tuple(range(count)), tuple(range(count)))
    held_out = round(settings.outer_share * count)
    if not 0 < held_out < count:
        raise InputError(
            f"of {count} rows this share leaves none for adapters, or none for gates",
            field="outer_share",
            value=settings.outer_share,
            remedy="bring more rows, or hold out another share",
        )
    order = list(range(count))
    if settings.outer is OuterRows.HELD_OUT:
        order = torch.randperm(count, generator=generator).tolist()
    return Split(tuple(sorted(order[:-held_out])), tuple(sorted(order[-held_out:])))


def _redrawn(rows: Sequence[int], generator: torch.Generator) -> tuple[int, ...]:
    """As many rows, drawn with replacement."""
    drawn = torch.randint(len(rows), (len(rows),), generator=generator)
    return tuple(rows[at] for at in drawn.tolist())


@dataclass(frozen=True)
class Batches:
    """Batches of ``size`` of these rows: pieces of a permutation that is new every epoch."""

    rows: Sequence[int]
    size: int
    seed: int

    def at(self, number: int) -> list[int]:
        """The rows of a batch."""
        drawn = drawn_rows(len(self.rows), self.size, self.seed, number)
        return [self.rows[at] for at in drawn]
