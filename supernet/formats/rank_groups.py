"""A group of LoRA adapters that share one elastic rank, as LoNAS, Shears and SQFT list them."""

from __future__ import annotations

from collections.abc import Sequence

from elasticnas.api_schemas.fields import MAX_INT32
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import RANK, Dimension
from elasticnas.supernet.families.family import Role
from elasticnas.supernet.plan import LORA_A, Cut, ModelShape, Side


def rank_group(
    shape: ModelShape, index: int, modules: Sequence[str], choices: tuple[int, ...], *, field: str
) -> tuple[Dimension, list[Cut]]:
    """The dimension and the cuts of group ``index``, of the adapters of these linear modules.

    It is named after its layer and, where the layer has adapters outside of the group, after its
    members. ``choices`` descend. Those above what an extracted adapter was cut to are left out:
    the smaller ones are prefixes of it, as of the adapter that it was cut from.

    Raises:
        InputError: no choice is left.
    """
    within = _within(shape, modules, choices, field=field)
    name, layer = f"group.{index}.lora.rank", None
    places = [place for module in modules if (place := shape.family.role_of(module)) is not None]
    layers = {place[0] for place in places}
    if len(layers) == 1 and len(places) == len(modules):
        layer = layers.pop()
        roles = {place[1] for place in places}
        members = "+".join(role for role in Role if role in roles)
        is_whole = set(shape.adapted_in(layer)) == set(modules)
        name = f"layer.{layer}.lora.rank" if is_whole else f"layer.{layer}.{members}.lora.rank"
    dimension = Dimension(name=name, part=RANK, layer=layer, choices=within)
    return dimension, [cut for m in modules for cut in shape.cuts(name, m, Side.RANK)]


def descending(choices: object, *, field: str) -> tuple[int, ...]:
    """Choices of a group, the largest first, whatever their order in the file.

    Raises:
        InputError: they are not different positive integers (of 31 bits), or there are none.
    """
    if (
        not isinstance(choices, list)
        or not choices
        or not all(type(choice) is int and 0 < choice <= MAX_INT32 for choice in choices)
        or len(set(choices)) != len(choices)
    ):
        raise InputError(
            "the widths of a group must be different positive integers", field=field, value=choices
        )
    return tuple(sorted(choices, reverse=True))


def _within(
    shape: ModelShape, modules: Sequence[str], choices: tuple[int, ...], *, field: str
) -> tuple[int, ...]:
    if not shape.truncated & set(modules):
        return choices
    rank = max(shape.shapes[f"{module}.{LORA_A}"][0] for module in modules)
    within = tuple(choice for choice in choices if choice <= rank)
    if not within:
        raise InputError(
            f"the adapter has been cut to rank {rank}, below every choice of the group",
            field=field,
            value=list(choices),
            remedy=f"list {rank} among the group's choices, or use the adapter before extraction",
        )
    return within
