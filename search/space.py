"""A search space: an ordered tuple of elastic dimensions, and the subnets it spans."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from elasticnas.api_schemas.fields import Choice
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import Condition, Dimension, SpaceRead, SubnetChoices
from elasticnas.search.activity import Activity

ENUMERABLE = 50_000
"""Spaces up to this size can be walked through."""


@dataclass(frozen=True)
class SubnetConfig(Mapping[str, Choice]):
    """One choice for each dimension of a space: an immutable, hashable mapping.

    Made by a `SearchSpace`, which is what guarantees that it is valid and complete, and that equal
    subnets are equal: a dimension that is not active has its first choice.
    """

    choices: tuple[tuple[str, Choice], ...]

    def __getitem__(self, name: str) -> Choice:
        return self._by_name[name]

    def amount(self, name: str) -> int:
        """The choice of a dimension whose choices are whole numbers."""
        choice = self[name]
        assert isinstance(choice, int), f"{name} is {choice!r}, which is no amount"
        return choice

    def meets(self, conditions: Sequence[Condition]) -> bool:
        """Whether all conditions hold."""
        return all(self[each.dimension] in each.choices for each in conditions)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self.choices)

    def __hash__(self) -> int:
        return hash(self.choices)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SubnetConfig) and self.choices == other.choices

    @cached_property
    def _by_name(self) -> dict[str, Choice]:
        return dict(self.choices)

    @cached_property
    def key(self) -> str:
        """A stable digest of the choices: 32 hexadecimal digits, equal across processes."""
        text = ";".join(
            f"{name}={choice if type(choice) is int else json.dumps(choice)}"
            for name, choice in self.choices
        )
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class SearchSpace:
    """The ordered dimensions of a super-network.

    A subnet is encoded as one integer per dimension, the index of its choice: 0 is the maximal
    subnet's, the order of NNCF's width lists and of the design vectors of LoNAS and EFTNAS.

    Raises:
        InputError: two dimensions have one name, or there is none; or what makes dimensions active
            is wrong (see `Activity`).
    """

    dimensions: tuple[Dimension, ...]

    def __post_init__(self) -> None:
        if not self.dimensions:
            raise InputError("the search space has no dimension", field="dimensions")
        names = [dimension.name for dimension in self.dimensions]
        for name in names:
            if names.count(name) > 1:
                raise InputError("two dimensions have this name", field="dimensions", value=name)
        _ = self.activity

    @cached_property
    def activity(self) -> Activity:
        """Which dimensions of a subnet are active."""
        return Activity(self.dimensions)

    @cached_property
    def size(self) -> int:
        """The number of distinct subnets."""
        return self.activity.count()

    @cached_property
    def is_enumerable(self) -> bool:
        """Whether the space is small enough to walk through."""
        return math.prod(self.cardinalities) <= ENUMERABLE

    @cached_property
    def cardinalities(self) -> tuple[int, ...]:
        """The number of choices of each dimension, in order."""
        return tuple(len(dimension.choices) for dimension in self.dimensions)

    @cached_property
    def _by_name(self) -> dict[str, Dimension]:
        return {dimension.name: dimension for dimension in self.dimensions}

    @cached_property
    def _pairs(self) -> tuple[tuple[tuple[str, Choice], ...], ...]:
        """What a subnet may hold of each dimension, made once: 100,000 subnets share them."""
        return tuple(
            tuple((dimension.name, choice) for choice in dimension.choices)
            for dimension in self.dimensions
        )

    @cached_property
    def maximal(self) -> SubnetConfig:
        """The first choice everywhere."""
        return self.decode([0] * len(self.dimensions))

    @cached_property
    def minimal(self) -> SubnetConfig:
        """The last choice everywhere: the smallest, where choices are ordered."""
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
        if self.activity.is_conditional:
            indices = self.activity.canonical(np.array([indices]))[0].tolist()
        return SubnetConfig(
            tuple(pairs[index] for pairs, index in zip(self._pairs, indices, strict=True))
        )

    def encode(self, subnet: SubnetConfig) -> tuple[int, ...]:
        """The choice index of each dimension, in order: the inverse of `decode`."""
        return tuple(
            dimension.choices.index(subnet[dimension.name]) for dimension in self.dimensions
        )

    def subnet(self, choices: SubnetChoices, *, field: str = "subnet") -> SubnetConfig:
        """Validate choices by name; a dimension left out takes its first.

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
        return self.decode(
            [
                dimension.choices.index(choices.get(dimension.name, dimension.choices[0]))
                for dimension in self.dimensions
            ]
        )

    def enumerate(self) -> Iterator[SubnetConfig]:
        """Every subnet, the maximal first. Only for spaces small enough to walk through."""
        for indices in itertools.product(*(range(count) for count in self.cardinalities)):
            if self.encode(subnet := self.decode(indices)) == indices:
                yield subnet

    def parts(self) -> dict[str, int]:
        """How many dimensions there are of each part."""
        return dict(Counter(dimension.part for dimension in self.dimensions))

    def read(self) -> SpaceRead:
        """This space as REST shows it."""
        return SpaceRead(dimensions=list(self.dimensions), size=self.size)
