"""Our own space file, ``search_space.json``: each dimension with what it cuts.

Version 2 says of a dimension its part, its layer and, where these do not tell, which modules' rows,
columns or rank it cuts. Version 1 says it by the dimension's name. ``docs/formats.md`` has both.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import BLOCKS, FFN, HEADS, RANK, Dimension
from elasticnas.search.space import SearchSpace
from elasticnas.supernet.checkpoint.json_file import read_object, validated
from elasticnas.supernet.families.family import Role
from elasticnas.supernet.plan import LORA_A, Cut, Side, SlicingPlan

SPACE_FILE = "search_space.json"
DIMENSIONS_FIELD = f"{SPACE_FILE}/dimensions"


class ModuleCuts(BaseModel):
    """The same cut of several linear modules: of one side, ``unit`` entries for each choice."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    modules: Annotated[tuple[str, ...], Field(min_length=1)]
    side: Side
    unit: PositiveInt = 1


class ElasticDimension(Dimension):
    """A dimension with what it cuts: ``cuts``, or where there are none what its part has there.

    ``roles`` restrict a rank to the adapters of these layers of a block.
    """

    roles: tuple[Role, ...] = ()
    cuts: tuple[ModuleCuts, ...] = ()

    @property
    def dimension(self) -> Dimension:
        """The dimension alone."""
        return Dimension.model_validate({n: getattr(self, n) for n in Dimension.model_fields})


class SpaceFile(BaseModel):
    """The content of ``search_space.json``, version 2."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[2]
    dimensions: tuple[ElasticDimension, ...]
    reference_length: PositiveInt | None = None


def read_space(file: Path) -> SpaceFile:
    """The content of a space file of either version.

    Raises:
        InputError: it is not one.
    """
    return parse_space(read_object(file, field=file.name), field=file.name)


def parse_space(content: dict[str, Any], *, field: str) -> SpaceFile:
    """The space that a JSON object of either version describes.

    Raises:
        InputError: it describes none; names ``field``.
    """
    if (version := content.get("version", 1)) not in (1, 2):
        raise InputError(
            "this version of the space file is not read",
            field=f"{field}/version",
            value=version,
            remedy="write version 2, or update ElasticNAS",
        )
    if version == 2:
        return validated(SpaceFile, content, field=field)
    return _upgraded(validated(_FirstVersion, content, field=field))


def space_file(space: SearchSpace, plan: SlicingPlan, reference_length: int | None) -> SpaceFile:
    """What `read_space` reads to the same space and plan.

    A plan with modules that come and go follows from the dimensions' parts alone.
    """
    dimensions = tuple(
        ElasticDimension(
            **each.model_dump(), cuts=() if plan.modules else _cuts_of(each.name, plan)
        )
        for each in space.dimensions
    )
    return SpaceFile(version=2, dimensions=dimensions, reference_length=reference_length)


def _cuts_of(dimension: str, plan: SlicingPlan) -> tuple[ModuleCuts, ...]:
    """A dimension's cuts, those alike in side and unit together."""
    modules: dict[tuple[Side, int], list[str]] = {}
    for cut in plan.cuts:
        if cut.dimension == dimension and (side := _side(cut)) is not None:
            modules.setdefault((side, cut.unit), []).append(cut.tensor.rpartition(".")[0])
    return tuple(
        ModuleCuts(modules=tuple(names), side=side, unit=unit)
        for (side, unit), names in modules.items()
    )


def _side(cut: Cut) -> Side | None:
    """What of its module a cut is; None for what follows from another cut of the same module."""
    tensor = cut.tensor.rpartition(".")[2]
    sides = {("weight", 0): Side.ROWS, ("weight", 1): Side.COLUMNS, (LORA_A, 0): Side.RANK}
    return sides.get((tensor, cut.axis))


_NAME = re.compile(
    r"layer\.(?P<layer>\d+)\."
    rf"(?P<what>attention\.heads|ffn\.width|(?:(?P<role>{'|'.join(Role)})\.)?lora\.rank)"
)
_PARTS = {"heads": HEADS, "width": FFN, "rank": RANK, "depth": BLOCKS}
"""What the kinds of dimension in version 1 are called elsewhere."""
_KINDS = {"attention.heads": "heads", "ffn.width": "width"}


class _NamedDimension(BaseModel):
    """A dimension of version 1: its name says which layer it belongs to."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200)]
    kind: Literal["heads", "width", "rank", "depth"]
    choices: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        Dimension(name=self.name, part=_PARTS[self.kind], choices=self.choices)
        return self


class _FirstVersion(BaseModel):
    """The content of ``search_space.json``, version 1."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    dimensions: tuple[_NamedDimension, ...]
    reference_length: PositiveInt | None = None


def _upgraded(content: _FirstVersion) -> SpaceFile:
    dimensions = tuple(_told_by_name(each) for each in content.dimensions)
    return SpaceFile(version=2, dimensions=dimensions, reference_length=content.reference_length)


def _told_by_name(named: _NamedDimension) -> ElasticDimension:
    """The dimension that a name of version 1 stands for."""
    match = _NAME.fullmatch(named.name)
    if match is None and named.name != "depth":
        raise InputError(
            "this name says nothing about what the dimension cuts",
            field=DIMENSIONS_FIELD,
            value=named.name,
            remedy="name it depth, layer.<i>.attention.heads, layer.<i>.ffn.width, "
            "layer.<i>.lora.rank or layer.<i>.<role>.lora.rank, or write version 2",
        )
    kind = "depth" if match is None else _KINDS.get(match["what"], "rank")
    if named.kind != kind:
        raise InputError(
            f"a dimension of this name is of kind {kind}",
            field=f"{DIMENSIONS_FIELD}/{named.name}/kind",
            value=named.kind,
        )
    place: dict[str, Any] = {}
    if match is not None:
        place = {"layer": int(match["layer"]), "roles": (match["role"],) if match["role"] else ()}
    return ElasticDimension(name=named.name, part=_PARTS[kind], choices=named.choices, **place)
