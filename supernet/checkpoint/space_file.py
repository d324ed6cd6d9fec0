"""Our own space file, ``search_space.json``: dimensions by name, and what each name cuts.

``layer.<i>.attention.heads`` cuts attention heads, ``layer.<i>.ffn.width`` FFN neurons,
``layer.<i>.lora.rank`` the rank of every adapter of a layer, ``layer.<i>.<role>.lora.rank`` that of
one (roles: query, key, value, attention_output, ffn_in, ffn_out), ``depth`` the number of first
layers kept. ``docs/formats.md`` describes the file.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from transformers import PretrainedConfig

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import BLOCKS, FFN, HEADS, RANK, Dimension
from elasticnas.search.space import SearchSpace
from elasticnas.supernet.architectures import ROLES, Architecture
from elasticnas.supernet.checkpoint.json_file import read_object, validated
from elasticnas.supernet.plan import (
    Cut,
    ElasticPart,
    SlicingPlan,
    attention_cuts,
    ffn_cuts,
    rank_cuts,
)

SPACE_FILE = "search_space.json"

_LAYER = re.compile(r"layer\.(?P<layer>\d+)\.")
_NAME = re.compile(
    r"layer\.(?P<layer>\d+)\."
    rf"(?P<what>attention\.heads|ffn\.width|(?:(?P<role>{'|'.join(ROLES)})\.)?lora\.rank)"
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


def read_space_file(
    file: Path, architecture: Architecture, config: PretrainedConfig, adapted: Collection[str]
) -> ElasticPart:
    """Read our own space file for a model whose modules ``adapted`` carry LoRA adapters.

    Raises:
        InputError: not such a file, or a dimension whose name, kind or layer does not fit.
    """
    content = read_space(file)
    return elastic_part(content, architecture, config, adapted)


def read_space(file: Path) -> SpaceFile:
    """The content of a space file.

    Raises:
        InputError: it is not one.
    """
    return validated(SpaceFile, read_object(file, field=file.name), field=file.name)


def elastic_part(
    content: SpaceFile,
    architecture: Architecture,
    config: PretrainedConfig,
    adapted: Collection[str],
) -> ElasticPart:
    """The space and the plan that dimensions named as above come to."""
    layers = int(getattr(config, architecture.depth))
    cuts: list[Cut] = []
    depth = None
    space = content.space
    for dimension in space.dimensions:
        if dimension.name == "depth":
            _require_part(dimension, BLOCKS)
            if dimension.choices[0] != layers:
                raise InputError(
                    f"the largest depth must be the model's {layers} layers",
                    field="depth",
                    value=dimension.choices[0],
                )
            depth = dimension.name
        else:
            cuts += _layer_cuts(dimension, architecture, config, adapted)
    return ElasticPart(space, SlicingPlan(tuple(cuts), depth), content.reference_length)


def _layer_cuts(
    dimension: Dimension,
    architecture: Architecture,
    config: PretrainedConfig,
    adapted: Collection[str],
) -> list[Cut]:
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
    if layer >= int(getattr(config, architecture.depth)):
        raise InputError(
            f"the model has {getattr(config, architecture.depth)} layers",
            field=f"{SPACE_FILE}/dimensions/{dimension.name}",
            value=layer,
        )
    _require_part(dimension, {"attention.heads": HEADS, "ffn.width": FFN}.get(what, RANK))
    if what == "attention.heads":
        return attention_cuts(dimension.name, layer, architecture, config, adapted)
    if what == "ffn.width":
        return ffn_cuts(dimension.name, layer, architecture, adapted)
    roles = (match["role"],) if match["role"] else ROLES
    modules = [m for role in roles if (m := architecture.module(layer, role)) in adapted]
    return rank_cuts(dimension.name, modules)


def _require_part(dimension: Dimension, part: str) -> None:
    if dimension.part != part:
        kinds = {part: kind for kind, part in _PARTS.items()}
        raise InputError(
            f"a dimension of this name is of kind {kinds[part]}",
            field=f"{SPACE_FILE}/dimensions/{dimension.name}/kind",
            value=kinds[dimension.part],
        )
