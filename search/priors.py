"""What is expected of a space's choices before anything has been measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.problems import InputError
from elasticnas.search.space import SearchSpace

FIELD = "strategy/priors"


def choice_weights(
    space: SearchSpace, priors: Mapping[str, Sequence[float]]
) -> NDArray[np.float64] | None:
    """The weight of every choice, (dimensions, most choices); None where nothing is expected.

    ``priors`` have, by a dimension's name, a weight for each of its choices in their order. A
    dimension's weights are told as multiples of their mean, so all are 1 where none are given; they
    are 0 where a dimension has fewer choices.

    Raises:
        InputError: a prior is of no dimension, or has not a weight for each choice.
    """
    if not priors:
        return None
    names = [dimension.name for dimension in space.dimensions]
    counts = np.array(space.cardinalities)
    weights = (np.arange(counts.max()) < counts[:, None]).astype(float)
    for name, given in priors.items():
        if name not in names:
            raise InputError(
                "the super-network has no such dimension", field=f"{FIELD}/{name}", value=name
            )
        place = names.index(name)
        choices = space.dimensions[place].choices
        if len(given) != len(choices):
            raise InputError(
                f"{len(given)} weights for {len(choices)} choices",
                field=f"{FIELD}/{name}",
                value=[*given],
                remedy=f"give one for each of {', '.join(map(str, choices))}, in this order",
            )
        weights[place, : len(given)] = np.array(given) / np.mean(given)
    return weights
