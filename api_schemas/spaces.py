"""Elastic dimensions: their names, parts and choices, which span a search space."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, model_validator

from elasticnas.api_schemas.fields import Choice, Name

SubnetChoices = dict[str, Choice]
"""A subnet as it travels: the chosen value (not its index) of each dimension, by name."""

SubnetAsked = dict[Name, Choice]
"""A subnet as a request gives it, before anybody knows whether there is one like it."""

HEADS = "heads"
FFN = "ffn"
RANK = "rank"
BLOCKS = "blocks"
OPERATION = "operation"
HIDDEN = "hidden"
KERNEL = "kernel"
FFN_LAYERS = "ffn_layers"

Half = Literal["attention", "ffn"]
HALVES: tuple[Half, ...] = ("attention", "ffn")


class Condition(BaseModel):
    """Holds where ``dimension`` takes one of these ``choices``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dimension: Annotated[str, Field(min_length=1, max_length=200)]
    choices: Annotated[tuple[Choice, ...], Field(min_length=1)]


class Dimension(BaseModel):
    """One elastic quantity of a super-network, e.g. ``layer.3.attention.heads: 12, 9, 6``.

    ``name`` is a label. What the dimension cuts is its ``part``: `HEADS`, `FFN` (neurons), `RANK`
    (of LoRA; rank 0 is no adapter), `BLOCKS` (which are kept), `OPERATION`, `HIDDEN` (channels), or
    any other word; and its ``layer``, None where it belongs to none or to several.

    Index 0 of ``choices`` is the maximal subnet's. ``ordered`` choices have neighbours: integers
    descend. Others are names for things that have no order. A dimension with ``active_when`` makes
    a difference only where all of these conditions hold, and the dimensions that they name are
    active themselves; elsewhere it has its first choice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200)]
    part: Annotated[str, Field(min_length=1, max_length=40)]
    layer: NonNegativeInt | None = None
    choices: Annotated[tuple[Choice, ...], Field(min_length=1)]
    ordered: bool = True
    active_when: tuple[Condition, ...] = ()

    @property
    def amounts(self) -> tuple[int, ...] | None:
        """The choices where all are numbers that can be compared; None for any others."""
        numbers = tuple(choice for choice in self.choices if isinstance(choice, int))
        return numbers if self.ordered and len(numbers) == len(self.choices) else None

    @model_validator(mode="after")
    def _choices_differ(self) -> Self:
        if len(set(self.choices)) < len(self.choices):
            raise ValueError(
                f"choices of dimension {self.name!r} must not repeat, found {list(self.choices)}"
            )
        return self

    @model_validator(mode="after")
    def _amounts_descend(self) -> Self:
        amounts = self.amounts or (1,)
        least = 0 if self.part == RANK else 1
        if list(amounts) != sorted(amounts, reverse=True) or amounts[-1] < least or not amounts[0]:
            raise ValueError(
                f"choices of dimension {self.name!r} must descend and be above 0 (the last of "
                f"ranks may be 0, no adapter), found {list(self.choices)}; choices without an "
                "order have ordered: false"
            )
        return self


class Presence(BaseModel):
    """Half a layer, attention or FFN, that a subnet may leave out: it runs where ``when`` holds.

    A half of which nothing is said always runs; one of which much is said, where all of it holds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layer: NonNegativeInt
    half: Half
    when: Condition


def leading(depth: Dimension, layers: int) -> tuple[Presence, ...]:
    """The presences of so many layers of which a subnet keeps the first: ``depth`` says how many.

    Raises:
        ValueError: the choices of ``depth`` are no numbers of layers.
    """
    if depth.amounts is None:
        raise ValueError(f"{depth.name!r} has choices that are no numbers of layers")
    return skipping(depth, [range(kept, layers) for kept in depth.amounts])


def skipping(dimension: Dimension, skipped: Sequence[Collection[int]]) -> tuple[Presence, ...]:
    """The presences of layers that are ``skipped``, at each choice of ``dimension`` some of them.

    At its first choice, the maximal subnet's, none is.
    """
    whole = [[(layer, half) for layer in out for half in HALVES] for out in skipped]
    return skipping_halves(dimension, whole)


def skipping_halves(
    dimension: Dimension, skipped: Sequence[Collection[tuple[int, Half]]]
) -> tuple[Presence, ...]:
    """As `skipping`, of halves of layers."""
    found = sorted({each for out in skipped for each in out})  # attention comes before ffn
    return tuple(
        Presence(
            layer=layer,
            half=half,
            when=Condition(
                dimension=dimension.name,
                choices=tuple(
                    choice
                    for choice, out in zip(dimension.choices, skipped, strict=True)
                    if (layer, half) not in out
                ),
            ),
        )
        for layer, half in found
    )


class LayerRead(BaseModel):
    """A layer: its dimensions, and the halves of it that subnets may leave out."""

    layer: int
    optional: list[Half]
    dimensions: list[Dimension]


class LayersRead(BaseModel):
    """A search space layer by layer; ``dimensions`` are those that belong to no one layer."""

    layers: list[LayerRead]
    dimensions: list[Dimension]


class SpaceRead(BaseModel):
    """A search space as REST shows it; ``size`` is the number of distinct subnets."""

    dimensions: list[Dimension]
    size: int
