"""The slicing plan: which tensor axes each dimension cuts.

A width cut takes the first ``w`` output channels of its producers (rows of the weight, the bias and
lora_B) and the same input channels of their consumers (columns of the weight and lora_A). A rank
cut takes the first ``r`` rows of lora_A and columns of lora_B. Nothing is ever reordered: what a
checkpoint stores is what prefixes are taken of (LoNAS, Munoz et al. 2024, section 3; the table in
``docs/formats.md``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from transformers import PretrainedConfig

from elasticnas.api_schemas.problems import InputError
from elasticnas.search.space import SearchSpace, SubnetConfig
from elasticnas.supernet.architectures import Architecture

LORA_A = "lora_A"
LORA_B = "lora_B"


@dataclass(frozen=True)
class Cut:
    """Along ``axis`` of ``tensor``, ``dimension`` keeps the first ``unit * choice`` entries.

    Tensors are named as in the Transformers state dict; an adapter's two as
    ``<module>.lora_A`` (rank, inputs) and ``<module>.lora_B`` (outputs, rank).
    """

    tensor: str
    axis: int
    dimension: str
    unit: int = 1


@dataclass(frozen=True)
class SlicingPlan:
    """All cuts of a super-network; ``depth`` names the dimension that keeps the first layers."""

    cuts: tuple[Cut, ...]
    depth: str | None = None

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

    def slice(self, name: str, tensor: torch.Tensor, subnet: SubnetConfig) -> torch.Tensor:
        """The active prefix of a tensor: a view, never a copy."""
        for cut in self.by_tensor.get(name, ()):
            tensor = tensor.narrow(cut.axis, 0, cut.unit * subnet.amount(cut.dimension))
        return tensor

    def validate(self, space: SearchSpace, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Hold the plan against the space and the shapes of the tensors it cuts.

        Raises:
            InputError: a cut tensor is missing, two dimensions cut one axis, a dimension cuts
                nothing, a choice is larger than its layer, or the largest choice is not the full
                length.
        """
        largest = {d.name: space.maximal.amount(d.name) for d in space.dimensions}
        taken: dict[tuple[str, int], str] = {}
        for cut in self.cuts:
            if cut.tensor not in shapes:
                raise InputError(
                    "the search space cuts a tensor that the checkpoint does not hold",
                    field=cut.dimension,
                    value=cut.tensor,
                )
            other = taken.setdefault((cut.tensor, cut.axis), cut.dimension)
            if other != cut.dimension:
                raise InputError(
                    f"two dimensions cut the same axis of {cut.tensor}",
                    field=cut.dimension,
                    value=other,
                )
            full = shapes[cut.tensor][cut.axis]
            wanted = cut.unit * largest[cut.dimension]
            if wanted > full:
                raise InputError(
                    f"the largest choice needs {wanted} channels, more than the {full} of "
                    f"{cut.tensor}",
                    field=cut.dimension,
                    value=largest[cut.dimension],
                    remedy=f"the largest choice must be {full // cut.unit}",
                )
            if wanted < full:
                raise InputError(
                    f"the largest choice keeps {wanted} of the {full} channels of {cut.tensor}, "
                    "so the full layer would be out of reach",
                    field=cut.dimension,
                    value=largest[cut.dimension],
                    remedy=f"the largest choice must be {full // cut.unit}",
                )
        for dimension in space.dimensions:
            used = any(cut.dimension == dimension.name for cut in self.cuts)
            if not used and dimension.name != self.depth:
                raise InputError("the dimension cuts nothing", field=dimension.name)


@dataclass(frozen=True)
class ElasticPart:
    """What a space file or an NNCF config comes to.

    ``reference_length`` is the sequence length that the file prices subnets at, if it names one.
    """

    space: SearchSpace
    plan: SlicingPlan
    reference_length: int | None


def attention_cuts(
    name: str,
    layer: int,
    architecture: Architecture,
    config: PretrainedConfig,
    adapted: Collection[str],
) -> list[Cut]:
    """Heads: the outputs of query, key and value, and the inputs of the output projection."""
    return _width_cuts(
        name,
        producers=[architecture.module(layer, role) for role in ("query", "key", "value")],
        consumers=[architecture.module(layer, "attention_output")],
        adapted=adapted,
        unit=architecture.head_size(config),
    )


def ffn_cuts(
    name: str, layer: int, architecture: Architecture, adapted: Collection[str]
) -> list[Cut]:
    """FFN neurons: the outputs of the first linear layer and the inputs of the second."""
    return _width_cuts(
        name,
        producers=[architecture.module(layer, "ffn_in")],
        consumers=[architecture.module(layer, "ffn_out")],
        adapted=adapted,
    )


def _width_cuts(
    dimension: str,
    *,
    producers: Iterable[str],
    consumers: Iterable[str],
    adapted: Iterable[str],
    unit: int = 1,
) -> list[Cut]:
    """The cuts of a width: the producers' outputs and the consumers' inputs.

    ``producers`` and ``consumers`` are linear modules; ``adapted`` those that carry a LoRA adapter.
    """
    carrying = set(adapted)
    cuts = []
    for module in producers:
        cuts.append(Cut(f"{module}.weight", 0, dimension, unit))
        cuts.append(Cut(f"{module}.bias", 0, dimension, unit))
        if module in carrying:
            cuts.append(Cut(f"{module}.{LORA_B}", 0, dimension, unit))
    for module in consumers:
        cuts.append(Cut(f"{module}.weight", 1, dimension, unit))
        if module in carrying:
            cuts.append(Cut(f"{module}.{LORA_A}", 1, dimension, unit))
    return cuts


def rank_cuts(dimension: str, modules: Iterable[str]) -> list[Cut]:
    """The cuts of a LoRA rank: rows of lora_A and columns of lora_B of each module."""
    return [
        cut
        for module in modules
        for cut in (
            Cut(f"{module}.{LORA_A}", 0, dimension),
            Cut(f"{module}.{LORA_B}", 1, dimension),
        )
    ]
