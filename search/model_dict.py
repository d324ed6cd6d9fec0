"""A published architecture as a subnet: FlexiBERT's ``modelDict`` in the dimensions of a space."""

from __future__ import annotations

from elasticnas.api_schemas.fields import Choice
from elasticnas.api_schemas.model_dicts import CONVOLUTION, KINDS, LISTS, ModelDict
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import (
    BLOCKS,
    FFN,
    FFN_LAYERS,
    HEADS,
    HIDDEN,
    KERNEL,
    OPERATION,
    Dimension,
)
from elasticnas.search.space import SearchSpace, SubnetConfig


def subnet_of(told: ModelDict, space: SearchSpace, *, field: str = "model_dict") -> SubnetConfig:
    """The subnet whose layers are those of an architecture.

    Heads are counted and have the super-network's size; those of a layer without any (``l``) make
    no difference.

    Raises:
        InputError: a list has another length than ``l``, or there is no such subnet.
    """
    return _Reading(told, space, field).subnet()


class _Reading:
    """The choices of the layers so far, and the dimensions by what they choose."""

    def __init__(self, told: ModelDict, space: SearchSpace, field: str) -> None:
        self._told, self._space, self._field = told, space, field
        self._chosen: dict[str, Choice] = {}
        self._found = {(each.part, each.layer): each for each in space.dimensions}
        for key in LISTS:
            if len(listed := getattr(told, key)) != told.l:
                raise InputError(
                    f"this must be a list with an entry for each of the {told.l} layers",
                    field=f"{field}/{key}",
                    value=listed,
                )

    def subnet(self) -> SubnetConfig:
        """The architecture's, read from its first layer to its last."""
        told = self._told
        self._choose_depth()
        for place in range(told.l):
            self._choose_operation(place)
            self._choose(HIDDEN, place, told.h[place], f"h/{place}")
            self._choose_stack(place)
            if self._is_active(self._dimension(HEADS, place)):
                self._choose(HEADS, place, told.n[place], f"n/{place}")
        return self._space.subnet(self._chosen, field=self._field)

    def _choose_depth(self) -> None:
        layers = 1 + max((layer for _, layer in self._found if layer is not None), default=-1)
        depth, count = self._found.get((BLOCKS, None)), self._told.l
        if depth is not None and depth.amounts is not None:
            self._take(depth, count, "l")
        elif depth is not None or count != layers:
            raise self._refused(
                "l",
                count,
                f"all subnets have {layers} layers"
                if depth is None
                else "the super-network does not leave its last layers out",
                f"take {layers}" if depth is None else "name the subnet by its dimensions",
            )

    def _choose_operation(self, place: int) -> None:
        kind, said = self._told.o[place], self._told.p[place]
        if kind == CONVOLUTION:
            self._choose(OPERATION, place, "conv", f"o/{place}")
            self._choose(KERNEL, place, said, f"p/{place}")
        elif KINDS.get(str(said)) == kind:
            self._choose(OPERATION, place, said, f"p/{place}")
        else:
            known = [f"{k} {n}" for n, k in KINDS.items() if k != CONVOLUTION]
            remedy = f"choose {', '.join(known)}, or {CONVOLUTION} with a kernel"
            raise self._refused(f"p/{place}", said, f"{kind!r} has no such operation", remedy)

    def _choose_stack(self, place: int) -> None:
        stack, where = self._told.f[place], f"f/{place}"
        width = stack[0]
        if len(set(stack)) > 1:
            raise self._refused(
                where,
                stack,
                "all feed-forward layers of a stack have one width in a super-network",
                f"make them alike, such as {[width] * len(stack)}",
            )
        self._choose(FFN, place, width, where)
        depth = self._found.get((FFN_LAYERS, place))
        most: Choice = 1
        if depth is not None and self._is_active(depth):
            most = depth.choices[-1]
            if len(stack) in depth.choices:
                self._take(depth, len(stack), where)
                return
        if len(stack) != most:
            raise self._refused(
                where,
                stack,
                f"with {width} neurons the super-network has at most {most} feed-forward layers "
                "before the last",
                f"take a stack of {most}, or a super-network made with a larger ffn_layers",
            )

    def _choose(self, part: str, place: int, choice: Choice, where: str) -> None:
        dimension = self._dimension(part, place)
        if dimension is None:
            raise self._refused(
                where,
                choice,
                f"no dimension of the search space chooses this layer's {part}",
                "take a super-network that the recipe flexibert made",
            )
        self._take(dimension, choice, where)

    def _take(self, dimension: Dimension, choice: Choice, where: str) -> None:
        """One that belongs to all layers is taken by each of them, and must be the same."""
        if choice not in dimension.choices:
            raise self._refused(
                where,
                choice,
                f"the super-network has no such choice of {dimension.part}",
                f"choose among {', '.join(map(str, dimension.choices))}",
            )
        taken = self._chosen.setdefault(dimension.name, choice)
        if taken != choice:
            raise self._refused(
                where,
                choice,
                f"all layers of a subnet have the same {dimension.part} here",
                f"take {taken}, or a super-network made with one_hidden=false",
            )

    def _refused(self, where: str, value: object, message: str, remedy: str) -> InputError:
        return InputError(message, field=f"{self._field}/{where}", value=value, remedy=remedy)

    def _dimension(self, part: str, place: int) -> Dimension | None:
        return self._found.get((part, place)) or self._found.get((part, None))

    def _is_active(self, dimension: Dimension | None) -> bool:
        """Whether it makes a difference, by what has been chosen so far."""
        return dimension is not None and all(
            self._chosen.get(each.dimension) in each.choices for each in dimension.active_when
        )
