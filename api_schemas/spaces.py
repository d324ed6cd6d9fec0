"""Elastic dimensions: the names, kinds and choices that span a search space."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from elasticnas.api_schemas.fields import Choice, Name

SubnetChoices = dict[str, int]
"""A subnet as it travels: the chosen value (not its index) of each dimension, by name."""

SubnetAsked = dict[Name, Choice]
"""A subnet as a request gives it, before anybody knows whether there is one like it."""


class DimensionKind(StrEnum):
    """What a dimension cuts."""

    HEADS = "heads"
    WIDTH = "width"
    RANK = "rank"
    DEPTH = "depth"


class Dimension(BaseModel):
    """One elastic quantity of a super-network, e.g. ``layer.3.attention.heads: 12, 9, 6``.

    ``choices`` are in the unit of the kind (heads, FFN neurons, LoRA rank, layers kept), strictly
    descending: index 0 is the largest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200)]
    kind: DimensionKind
    choices: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _choices_descend(self) -> Self:
        if any(a <= b for a, b in zip(self.choices, self.choices[1:], strict=False)):
            raise ValueError(
                f"choices of dimension {self.name!r} must descend without repeats, "
                f"found {list(self.choices)}"
            )
        return self


class SpaceRead(BaseModel):
    """A search space as REST shows it; ``size`` is the number of distinct subnets."""

    dimensions: list[Dimension]
    size: int
