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

from pydantic import BaseModel, ConfigDict, PositiveInt
from transformers import PretrainedConfig

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import Dimension, DimensionKind
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

_NAME = re.compile(
    r"layer\.(?P<layer>\d+)\."
    rf"(?P<what>attention\.heads|ffn\.width|(?:(?P<role>{'|'.join(ROLES)})\.)?lora\.rank)"
)
_KINDS = {
    "attention.heads": DimensionKind.HEADS,
    "ffn.width": DimensionKind.WIDTH,
}


class SpaceFile(BaseModel):
    """The content of ``search_space.json``."""

    model_config = ConfigDict(extra="forbid")

    dimensions: tuple[Dimension, ...]
    reference_length: PositiveInt | None = None


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
    for dimension in content.dimensions:
        if dimension.name == "depth":
            _require_kind(dimension, DimensionKind.DEPTH)
            if dimension.choices[0] != layers:
                raise InputError(
                    f"the largest depth must be the model's {layers} layers",
                    field="depth",
                    value=dimension.choices[0],
                )
            depth = dimension.name
        else:
            cuts += _layer_cuts(dimension, architecture, config, adapted)
    return ElasticPart(
        SearchSpace(content.dimensions), SlicingPlan(tuple(cuts), depth), content.reference_length
    )


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
    _require_kind(dimension, _KINDS.get(what, DimensionKind.RANK))
    if what == "attention.heads":
        return attention_cuts(dimension.name, layer, architecture, config, adapted)
    if what == "ffn.width":
        return ffn_cuts(dimension.name, layer, architecture, adapted)
    roles = (match["role"],) if match["role"] else ROLES
    modules = [m for role in roles if (m := architecture.module(layer, role)) in adapted]
    return rank_cuts(dimension.name, modules)


def _require_kind(dimension: Dimension, kind: DimensionKind) -> None:
    if dimension.kind is not kind:
        raise InputError(
            f"a dimension of this name is of kind {kind.value}",
            field=f"{SPACE_FILE}/dimensions/{dimension.name}/kind",
            value=dimension.kind.value,
        )
