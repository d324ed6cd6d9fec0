"""What a surrogate that descends over its input sees of a subnet, and the way back."""

from __future__ import annotations

from typing import Literal, Protocol

from elasticnas.api_schemas.spaces import BLOCKS
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


EmbeddingName = Literal["choices", "transformer2vec"]


def make_embedding(name: EmbeddingName | None, space: SearchSpace) -> Embedding:
    """The embedding of this name of a space's subnets, or the one that suits them.

    Where subnets have different layers, choices of layers that only some have compare badly:
    Transformer2vec.
    """
    name = name or ("transformer2vec" if _has_depth(space) else "choices")
    return Transformer2vec(space) if name == "transformer2vec" else Encoding(space)


def _has_depth(space: SearchSpace) -> bool:
    return any(
        dimension.part == BLOCKS and space.activity.is_parent(position)
        for position, dimension in enumerate(space.dimensions)
    )
