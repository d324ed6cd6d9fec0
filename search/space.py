"""A search space: an ordered tuple of elastic dimensions, and the subnets it spans."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import Dimension, DimensionKind, SpaceRead, SubnetChoices


@dataclass(frozen=True)
class SubnetConfig(Mapping[str, int]):
    """One choice for each dimension of a space: an immutable, hashable mapping.

    Made by a `SearchSpace`, which is what guarantees that it is valid and complete.
    """

    choices: tuple[tuple[str, int], ...]

    def __getitem__(self, name: str) -> int:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self.choices)

    def __hash__(self) -> int:
        return hash(self.choices)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SubnetConfig) and self.choices == other.choices

    @cached_property
    def _by_name(self) -> dict[str, int]:
        return dict(self.choices)

    @cached_property
    def key(self) -> str:
        """A stable digest of the choices: 32 hexadecimal digits, equal across processes."""
        text = ";".join(f"{name}={choice}" for name, choice in self.choices)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class SearchSpace:
    """The ordered dimensions of a super-network.

    A subnet is encoded as one integer per dimension, the index of its choice: 0 is the largest,
    the order of NNCF's width lists and of the design vectors of LoNAS and EFTNAS.

    Raises:
        InputError: two dimensions have one name, or there is none.
    """

    dimensions: tuple[Dimension, ...]

    def __post_init__(self) -> None:
        if not self.dimensions:
            raise InputError("the search space has no dimension", field="dimensions")
        names = [dimension.name for dimension in self.dimensions]
        for name in names:
            if names.count(name) > 1:
                raise InputError("two dimensions have this name", field="dimensions", value=name)

    @cached_property
    def size(self) -> int:
        """The number of distinct subnets."""
        return math.prod(self.cardinalities)

    @cached_property
    def cardinalities(self) -> tuple[int, ...]:
        """The number of choices of each dimension, in order."""
        return tuple(len(dimension.choices) for dimension in self.dimensions)

    @cached_property
    def _by_name(self) -> dict[str, Dimension]:
        return {dimension.name: dimension for dimension in self.dimensions}

    @cached_property
    def _pairs(self) -> tuple[tuple[tuple[str, int], ...], ...]:
        """What a subnet may hold of each dimension, made once: 100,000 subnets share them."""
        return tuple(
            tuple((dimension.name, choice) for choice in dimension.choices)
            for dimension in self.dimensions
        )

    @cached_property
    def maximal(self) -> SubnetConfig:
        """The largest choice everywhere."""
        return self.decode([0] * len(self.dimensions))

    @cached_property
    def minimal(self) -> SubnetConfig:
        """The smallest choice everywhere."""
        return self.decode([count - 1 for count in self.cardinalities])

    @cached_property
    def heuristic(self) -> SubnetConfig:
        """The middle choice everywhere, the larger of two middles.

        The heuristic subnet of LoNAS and Shears (Munoz et al. 2024, section 3): index
        ``(count - 1) // 2`` of each descending list.
        """
        return self.decode([(count - 1) // 2 for count in self.cardinalities])

    def decode(self, indices: Sequence[int]) -> SubnetConfig:
        """The subnet of one choice index per dimension, in order."""
        return SubnetConfig(
            tuple(pairs[index] for pairs, index in zip(self._pairs, indices, strict=True))
        )

    def encode(self, subnet: SubnetConfig) -> tuple[int, ...]:
        """The choice index of each dimension, in order: the inverse of `decode`."""
        return tuple(
            dimension.choices.index(subnet[dimension.name]) for dimension in self.dimensions
        )

    def subnet(self, choices: SubnetChoices, *, field: str = "subnet") -> SubnetConfig:
        """Validate choices by name; a dimension left out takes its largest.

        Raises:
            InputError: a dimension does not exist, or does not have that choice.
        """
        for name, choice in choices.items():
            dimension = self._by_name.get(name)
            if dimension is None:
                raise InputError(
                    "no dimension of the search space has this name",
                    field=f"{field}/{name}",
                    value=name,
                    remedy=f"dimensions are named like {self.dimensions[0].name!r}",
                )
            if choice not in dimension.choices:
                raise InputError(
                    "this is not one of the dimension's choices",
                    field=f"{field}/{name}",
                    value=choice,
                    remedy=f"choose one of {list(dimension.choices)}",
                )
        return SubnetConfig(
            tuple(
                (dimension.name, choices.get(dimension.name, dimension.choices[0]))
                for dimension in self.dimensions
            )
        )

    def enumerate(self) -> Iterator[SubnetConfig]:
        """Every subnet, the maximal first. Only for spaces small enough to walk through."""
        for indices in itertools.product(*(range(count) for count in self.cardinalities)):
            yield self.decode(indices)

    def kinds(self) -> dict[str, int]:
        """How many dimensions there are of each kind."""
        counts: dict[DimensionKind, int] = {}
        for dimension in self.dimensions:
            counts[dimension.kind] = counts.get(dimension.kind, 0) + 1
        return {kind.value: count for kind, count in counts.items()}

    def read(self) -> SpaceRead:
        """This space as REST shows it."""
        return SpaceRead(dimensions=list(self.dimensions), size=self.size)
