"""Which subnets of a heterogeneous super-network learn from the maximal one at a step.

The sandwich rule (Yu & Huang 2019, "Universally Slimmable Networks", section 3.1) draws subnets
choice by choice, which hardly ever gives one operation throughout. Layers that are all convolutions
make all their errors together, so they must learn together.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from elasticnas.api_schemas.flexibert_training import FlexiBertSettings
from elasticnas.api_schemas.spaces import OPERATION
from elasticnas.search.space import SearchSpace, SubnetConfig


def students(
    space: SearchSpace, settings: FlexiBertSettings, step: int, fitted: Sequence[str]
) -> Iterator[SubnetConfig]:
    """The students of a step: whole ones, random ones, and the minimal one.

    Whole ones take the operations ``fitted`` in turn, from step to step. Of the random ones every
    third is drawn choice by choice; the others are alike in all layers.
    """
    if fitted:
        for number in range(settings.whole_students):
            turn = step * settings.whole_students + number
            yield whole(space, fitted[turn % len(fitted)])
    for number in range(settings.random_subnets):
        rng = random.Random(f"{settings.seed}/{step}/{number}")
        if rng.random() < 1 / 3:
            yield space.decode([rng.randrange(count) for count in space.cardinalities])
        else:
            yield _alike(space, rng)
    yield space.minimal


def whole(space: SearchSpace, operation: str) -> SubnetConfig:
    """The maximal subnet, but for its operation, wherever there is that choice."""
    return space.subnet(
        {
            each.name: operation
            for each in space.dimensions
            if each.part == OPERATION and operation in each.choices
        }
    )


def _alike(space: SearchSpace, rng: random.Random) -> SubnetConfig:
    """Of one operation, with about half of the other parts whole and the others cut alike."""
    parts = dict.fromkeys(dimension.part for dimension in space.dimensions)
    drawn = {
        part: rng.random() if part == OPERATION or rng.random() < 0.5 else 0.0 for part in parts
    }
    return space.decode([int(drawn[d.part] * len(d.choices)) for d in space.dimensions])
