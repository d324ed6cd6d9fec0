"""What a surrogate that descends over its input sees of a subnet, and the way back."""

from __future__ import annotations

from typing import Literal, Protocol

from elasticnas.search.activity import Indices
from elasticnas.search.space import SearchSpace
from elasticnas.search.surrogates.features import Encoding, Features
from elasticnas.search.surrogates.transformer2vec import Transformer2vec


class Embedding(Protocol):
    """Subnets as points, and points as subnets."""

    def own(self, indices: Indices) -> Features:
        """The points of subnets (n, dimensions): shape (n, columns)."""
        ...

    def nearest(self, points: Features) -> Indices:
        """The subnets that are nearest to points (n, columns), as far as they are known."""
        ...


def make_embedding(name: Literal["choices", "transformer2vec"], space: SearchSpace) -> Embedding:
    """The embedding of this name of a space's subnets."""
    return Transformer2vec(space) if name == "transformer2vec" else Encoding(space)
