"""The slicing plan: which tensor axes each dimension cuts.

A width cut takes the first ``w`` output channels of its producers (rows of the weight, the bias and
lora_B) and the same input channels of their consumers (columns of the weight and lora_A). A rank
cut takes the first ``r`` rows of lora_A and columns of lora_B. Nothing is ever reordered: what a
checkpoint stores is what prefixes are taken of (LoNAS, Munoz et al. 2024, section 3; the table in
``docs/formats.md``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import torch
from transformers import PretrainedConfig

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import BLOCKS, HALVES, Condition, Presence
from elasticnas.search.space import SearchSpace, SubnetConfig
from elasticnas.supernet.families.family import ATTENTION_ROLES, FFN_ROLES, Family, Role

LORA_A = "lora_A"
LORA_B = "lora_B"


class Side(StrEnum):
    """What of a linear module a dimension cuts: outputs, inputs, or its adapter's rank."""

    ROWS = "rows"
    COLUMNS = "columns"
    RANK = "rank"


class Join(StrEnum):
    """How the branch B A of an adapter joins the weight W of its layer."""

    PLAIN = "plain"
    """``W + scaling * B A``, as PEFT merges."""
    MASKED = "masked"
    """``W + scaling * (B A) * (W != 0)``: zeros of a sparse base stay (SQFT's SparsePEFT, Munoz et
    al. 2024, section 3.3)."""
    UNMERGED = "unmerged"
    """``y = W x + scaling * B (A x)``: no weight is copied, which large models need."""
    MASKED_IN_TURN = "masked_in_turn"
    """As MASKED, summed anew whenever the layer is called and dropped behind it: to the bit the
    same, and no more than one layer's weight at a time."""


_TENSORS = {
    Side.ROWS: (("weight", 0), ("bias", 0), (LORA_B, 0)),
    Side.COLUMNS: (("weight", 1), (LORA_A, 1)),
    Side.RANK: ((LORA_A, 0), (LORA_B, 1)),
}
"""The tensors of a linear module that each side cuts, and along which axis."""


@dataclass(frozen=True)
class Cut:
    """Along ``axis`` of ``tensor``, ``dimension`` keeps the first ``unit * choice`` entries.

    Tensors are named as in the Transformers state dict; an adapter's two as
    ``<module>.lora_A`` (rank, inputs) and ``<module>.lora_B`` (outputs, rank). A cut with ``when``
    is made only where these conditions hold: of two of one axis, one at a time.
    """

    tensor: str
    axis: int
    dimension: str
    unit: int = 1
    when: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class ModulePresence:
    """A module that a subnet has only where one of the ``ways`` holds, of which no two ever do.

    A way is a number of conditions that hold together.
    """

    module: str
    ways: tuple[tuple[Condition, ...], ...]

    @property
    def dimensions(self) -> frozenset[str]:
        """All that it depends on."""
        return frozenset(each.dimension for way in self.ways for each in way)

    def holds(self, subnet: SubnetConfig) -> bool:
        """Whether a subnet has the module."""
        return any(subnet.meets(way) for way in self.ways)


@dataclass(frozen=True)
class SlicingPlan:
    """All cuts of a super-network, and the ``presences`` of blocks that subnets may leave out.

    ``modules`` are further modules that only some subnets have.
    """

    cuts: tuple[Cut, ...]
    presences: tuple[Presence, ...] = ()
    modules: tuple[ModulePresence, ...] = ()

    @cached_property
    def by_tensor(self) -> dict[str, tuple[Cut, ...]]:
        """The cuts of each tensor that has any."""
        grouped: dict[str, list[Cut]] = {}
        for cut in self.cuts:
            grouped.setdefault(cut.tensor, []).append(cut)
        return {tensor: tuple(cuts) for tensor, cuts in grouped.items()}

    def along(self, tensor: str, axis: int) -> Cut | None:
        """The cut of one axis of a tensor, if it has one."""
        return next((cut for cut in self.by_tensor.get(tensor, ()) if cut.axis == axis), None)

    def ways(self, name: str) -> tuple[tuple[Condition, ...], ...]:
        """Under which conditions, of which one set at a time holds, a tensor is there and cut."""
        there = [each.ways for each in self._around(name)]
        cut = tuple({cut.when: None for cut in self.by_tensor.get(name, ()) if cut.when}) or ((),)
        found: list[tuple[Condition, ...]] = [()]
        for ways in (*there, cut):
            found = [(*before, *way) for before in found for way in ways]
        return tuple(tuple(dict.fromkeys(each)) for each in found)

    def cut_under(self, tensor: str, axis: int, when: Collection[Condition]) -> Cut | None:
        """The cut of one axis of a tensor where these conditions hold."""
        return next(
            (
                cut
                for cut in self.by_tensor.get(tensor, ())
                if cut.axis == axis and set(cut.when) <= set(when)
            ),
            None,
        )

    def has(self, name: str, subnet: SubnetConfig) -> bool:
        """Whether a subnet has a module or tensor, as far as ``modules`` say."""
        return all(each.holds(subnet) for each in self._around(name))

    @cached_property
    def _by_module(self) -> dict[str, ModulePresence]:
        return {each.module: each for each in self.modules}

    def _around(self, name: str) -> list[ModulePresence]:
        """What is said of a module or tensor, and of the modules that it lies in."""
        if not self.modules:
            return []
        parts = name.split(".")
        places = (".".join(parts[:count]) for count in range(1, len(parts) + 1))
        return [self._by_module[place] for place in places if place in self._by_module]

    def slice(self, name: str, tensor: torch.Tensor, subnet: SubnetConfig) -> torch.Tensor:
        """The active prefix of a tensor: a view, never a copy."""
        for cut in self.by_tensor.get(name, ()):
            if not subnet.meets(cut.when):
                continue
            tensor = tensor.narrow(cut.axis, 0, cut.unit * subnet.amount(cut.dimension))
        return tensor

    def validate(
        self,
        space: SearchSpace,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        has_halves: bool = False,
    ) -> None:
        """Hold the plan against the space and the shapes of the tensors it cuts.

        ``has_halves`` says that blocks run without their attention or their FFN (`Family.halves`).

        Raises:
            InputError: a cut tensor is missing, two dimensions cut one axis, a dimension cuts
                nothing, a choice is larger than its layer, the largest choice is not the full
                length, or the first leaves out a block; or half a block can be left out that runs
                whole only.
        """
        used = {cut.dimension for cut in self.cuts}
        taken: dict[tuple[str, int, tuple[Condition, ...]], str] = {}
        for cut in self.cuts:
            largest = _largest(cut, space)
            if cut.tensor not in shapes:
                raise InputError(
                    "the search space cuts a tensor that the checkpoint does not hold",
                    field=cut.dimension,
                    value=cut.tensor,
                )
            other = taken.setdefault((cut.tensor, cut.axis, cut.when), cut.dimension)
            if other != cut.dimension:
                raise InputError(
                    f"two dimensions cut the same axis of {cut.tensor}",
                    field=cut.dimension,
                    value=other,
                )
            full = shapes[cut.tensor][cut.axis]
            wanted = cut.unit * largest
            if wanted > full:
                raise InputError(
                    f"the largest choice needs {wanted} channels, more than the {full} of "
                    f"{cut.tensor}",
                    field=cut.dimension,
                    value=largest,
                    remedy=f"the largest choice must be {full // cut.unit}",
                )
            if wanted < full:
                raise InputError(
                    f"the largest choice keeps {wanted} of the {full} channels of {cut.tensor}, "
                    "so the full layer would be out of reach",
                    field=cut.dimension,
                    value=largest,
                    remedy=f"the largest choice must be {full // cut.unit}",
                )
        used |= {each.when.dimension for each in self.presences}
        used |= {name for each in self.modules for name in each.dimensions}
        used |= {each.dimension for cut in self.cuts for each in cut.when}
        for dimension in space.dimensions:
            keeps_all = dimension.part == BLOCKS and len(dimension.choices) == 1
            if dimension.name not in used and not keeps_all:
                raise InputError("the dimension cuts nothing", field=dimension.name)
        self._validate_presences(space, has_halves=has_halves)

    def _validate_presences(self, space: SearchSpace, *, has_halves: bool) -> None:
        for each in self.presences:
            if not space.maximal.meets((each.when,)):
                raise InputError(
                    f"the first choice leaves out block {each.layer}, so the full model would be "
                    "out of reach",
                    field=each.when.dimension,
                    value=space.maximal[each.when.dimension],
                )
            others = [each.model_copy(update={"half": half}) for half in HALVES]
            if not has_halves and any(other not in self.presences for other in others):
                raise InputError(
                    f"block {each.layer} would run without its attention or without its FFN, and "
                    "blocks of this family are run whole only",
                    field=each.when.dimension,
                    value=each.half,
                    remedy="leave out whole blocks",
                )


def _largest(cut: Cut, space: SearchSpace) -> int:
    """The largest choice of a cut's dimension under which the cut is made."""
    (dimension,) = (each for each in space.dimensions if each.name == cut.dimension)
    allowed = [each.choices for each in cut.when if each.dimension == cut.dimension]
    amounts = dimension.amounts or ()
    return max(amount for amount in amounts if all(amount in choices for choices in allowed))


@dataclass(frozen=True)
class ElasticPart:
    """What a format reads of a checkpoint.

    ``reference_length`` is the sequence length that subnets are priced at, if a file names one;
    ``join`` is how adapters join their weights, None where that is as their own config says.
    """

    space: SearchSpace
    plan: SlicingPlan
    reference_length: int | None = None
    join: Join | None = None


@dataclass(frozen=True)
class ModelShape:
    """What a search space is laid over: a model of a family by its tensors' shapes alone.

    ``shapes`` names every tensor, those of adapters included, as `Cut.tensor` does. ``truncated``
    are the linear modules whose adapters were cut to a smaller rank than they were trained with.
    """

    family: Family
    config: PretrainedConfig
    shapes: Mapping[str, tuple[int, ...]]
    truncated: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        family: Family,
        config: PretrainedConfig,
        tensors: Mapping[str, torch.Tensor],
        truncated: frozenset[str] = frozenset(),
    ) -> ModelShape:
        """The shape of a model of these ``tensors``."""
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        return cls(family, config, shapes, truncated)

    @cached_property
    def adapted(self) -> frozenset[str]:
        """The linear modules with a LoRA adapter."""
        ends = f".{LORA_A}"
        return frozenset(n.removesuffix(ends) for n in self.shapes if n.endswith(ends))

    @property
    def num_layers(self) -> int:
        """Blocks of the model."""
        return self.family.num_layers(self.config)

    def adapted_in(self, layer: int, roles: Collection[Role] = tuple(Role)) -> list[str]:
        """The adapted modules of a block, of these roles."""
        return [m for m in self.family.modules(layer, roles) if m in self.adapted]

    def head_cuts(self, name: str, layer: int) -> list[Cut]:
        """Key-value heads with the query heads that they serve, and the inputs that read them."""
        return [
            cut
            for roles, side in (
                (ATTENTION_ROLES, Side.ROWS),
                ((Role.ATTENTION_OUTPUT,), Side.COLUMNS),
            )
            for module in self.family.modules(layer, roles)
            for cut in self.cuts(name, module, side, self.head_channels(module))
        ]

    def head_channels(self, module: str) -> int:
        """Channels of one key-value head, and the query heads it serves, in a linear module.

        Raises:
            ValueError: the module is no linear layer of a block.
        """
        if (place := self.family.role_of(module)) is None:
            raise ValueError(f"{module} is no linear layer of a block")
        return self.family.head_channels(place[1], self.config)

    def _require_elastic_heads(self, dimension: str) -> None:
        if not self.family.has_elastic_heads:
            raise InputError(
                f"the attention heads of {self.family.model_type} cannot be left out: Transformers "
                "gives every block the positions of all heads",
                field=dimension,
                remedy="take the dimension out of the search space; ranks, FFN widths and blocks "
                "may be elastic",
            )

    def ffn_cuts(self, name: str, layer: int) -> list[Cut]:
        """FFN neurons: outputs of the first layers, gate included, and inputs of the last."""
        return [
            cut
            for roles, side in ((FFN_ROLES, Side.ROWS), ((Role.FFN_OUT,), Side.COLUMNS))
            for module in self.family.modules(layer, roles)
            for cut in self.cuts(name, module, side)
        ]

    def cuts(self, dimension: str, module: str, side: Side, unit: int = 1) -> list[Cut]:
        """How a dimension cuts a linear module, its bias and its adapter where there are any.

        Raises:
            InputError: it cuts heads, and the family's blocks run with all of them only.
        """
        place = self.family.role_of(module)
        if side is Side.ROWS and place is not None and place[1] in ATTENTION_ROLES:
            self._require_elastic_heads(dimension)
        return [
            Cut(f"{module}.{tensor}", axis, dimension, unit)
            for tensor, axis in _TENSORS[side]
            if tensor == "weight" or side is Side.RANK or f"{module}.{tensor}" in self.shapes
        ]
