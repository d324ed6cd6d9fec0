"""Our own space file, ``search_space.json``: dimensions by name, and what each name cuts.

``layer.<i>.attention.heads`` cuts attention heads, ``layer.<i>.ffn.width`` FFN neurons,
``layer.<i>.lora.rank`` the rank of every adapter of a layer, ``layer.<i>.<role>.lora.rank`` that of
one (roles: query, key, value, attention_output, ffn_in, ffn_out), ``depth`` the number of first
layers kept. ``docs/formats.md`` describes the file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import BLOCKS, FFN, HEADS, RANK, Dimension
from elasticnas.search.space import SearchSpace
from elasticnas.supernet.checkpoint.json_file import read_object, validated
from elasticnas.supernet.families.family import Role
from elasticnas.supernet.plan import Cut, ElasticPart, ModelShape, Side, SlicingPlan

SPACE_FILE = "search_space.json"

_LAYER = re.compile(r"layer\.(?P<layer>\d+)\.")
_NAME = re.compile(
    r"layer\.(?P<layer>\d+)\."
    rf"(?P<what>attention\.heads|ffn\.width|(?:(?P<role>{'|'.join(Role)})\.)?lora\.rank)"
)
_PARTS = {"heads": HEADS, "width": FFN, "rank": RANK, "depth": BLOCKS}
"""What the kinds of dimension in this file are called elsewhere."""


class NamedDimension(BaseModel):
    """A dimension as the file has it: its name says which layer it belongs to."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200)]
    kind: Literal["heads", "width", "rank", "depth"]
    choices: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        _ = self.dimension
        return self

    @property
    def dimension(self) -> Dimension:
        """The same with its layer taken out of the name."""
        match = _LAYER.match(self.name)
        return Dimension(
            name=self.name,
            part=_PARTS[self.kind],
            layer=None if match is None else int(match["layer"]),
            choices=self.choices,
        )

    @classmethod
    def of(cls, dimension: Dimension) -> NamedDimension:
        """A dimension as this file can hold it."""
        kinds = {part: kind for kind, part in _PARTS.items()}
        return cls.model_validate(
            {
                "name": dimension.name,
                "kind": kinds.get(dimension.part),
                "choices": dimension.choices,
            }
        )


class SpaceFile(BaseModel):
    """The content of ``search_space.json``."""

    model_config = ConfigDict(extra="forbid")

    dimensions: tuple[NamedDimension, ...]
    reference_length: PositiveInt | None = None

    @property
    def space(self) -> SearchSpace:
        """The space that it describes."""
        return SearchSpace(tuple(each.dimension for each in self.dimensions))


def read_space_file(file: Path, shape: ModelShape) -> ElasticPart:
    """Read our own space file for a model of this shape.

    Raises:
        InputError: not such a file, or a dimension whose name, kind or layer does not fit.
    """
    return elastic_part(read_space(file), shape)


def read_space(file: Path) -> SpaceFile:
    """The content of a space file.

    Raises:
        InputError: it is not one.
    """
    return validated(SpaceFile, read_object(file, field=file.name), field=file.name)


def elastic_part(content: SpaceFile, shape: ModelShape) -> ElasticPart:
    """The space and the plan that dimensions named as above come to."""
    cuts: list[Cut] = []
    depth = None
    space = content.space
    for dimension in space.dimensions:
        if dimension.name == "depth":
            _require_part(dimension, BLOCKS)
            if dimension.choices[0] != shape.num_layers:
                raise InputError(
                    f"the largest depth must be the model's {shape.num_layers} layers",
                    field="depth",
                    value=dimension.choices[0],
                )
            depth = dimension.name
        else:
            cuts += _layer_cuts(dimension, shape)
    return ElasticPart(space, SlicingPlan(tuple(cuts), depth), content.reference_length)


def _layer_cuts(dimension: Dimension, shape: ModelShape) -> list[Cut]:
    match = _NAME.fullmatch(dimension.name)
    if match is None:
        raise InputError(
            "this name says nothing about what the dimension cuts",
            field=f"{SPACE_FILE}/dimensions",
            value=dimension.name,
            remedy="name it depth, layer.<i>.attention.heads, layer.<i>.ffn.width, "
            "layer.<i>.lora.rank or layer.<i>.<role>.lora.rank",
        )
    layer, what = int(match["layer"]), match["what"]
    if layer >= shape.num_layers:
        raise InputError(
            f"the model has {shape.num_layers} layers",
            field=f"{SPACE_FILE}/dimensions/{dimension.name}",
            value=layer,
        )
    _require_part(dimension, {"attention.heads": HEADS, "ffn.width": FFN}.get(what, RANK))
    if what == "attention.heads":
        return shape.head_cuts(dimension.name, layer)
    if what == "ffn.width":
        return shape.ffn_cuts(dimension.name, layer)
    roles = [Role(match["role"])] if match["role"] else list(Role)
    return [
        cut
        for module in shape.adapted_in(layer, roles)
        for cut in shape.cuts(dimension.name, module, Side.RANK)
    ]


def _require_part(dimension: Dimension, part: str) -> None:
    if dimension.part != part:
        kinds = {part: kind for kind, part in _PARTS.items()}
        raise InputError(
            f"a dimension of this name is of kind {kinds[part]}",
            field=f"{SPACE_FILE}/dimensions/{dimension.name}/kind",
            value=kinds[dimension.part],
        )
