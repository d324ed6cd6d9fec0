"""SQFT (Munoz et al. 2024): elastic LoRA ranks on a sparse base, perhaps merged under its mask.

``elastic_adapter_config.json`` lists groups of adapters by the names of their ``lora_A``, each with
the ranks that its members share. It lies in ``adapter/``, where training writes it, or at the top.
Adapters that no group names stay whole. SQFT's first versions wrote an NNCF config instead, with a
section of their own or with NNCF's; `is_of_sqft` tells the latter from Shears.

SparsePEFT (section 3.3), which keeps the zeros of the base when an adapter is merged, is the option
``sparse_adapter`` of ``adapter_config.json``, and is read with the adapter.
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, RootModel

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import Dimension
from elasticnas.search.space import SearchSpace
from elasticnas.supernet.checkpoint.json_file import read_json, read_object, validated
from elasticnas.supernet.checkpoint.layout import ADAPTER_CONFIG
from elasticnas.supernet.formats.format import Format
from elasticnas.supernet.formats.nncf import (
    NNCF_FILES,
    SQFT_SECTION,
    NncfConfig,
    nncf_config,
    read_nncf,
)
from elasticnas.supernet.formats.rank_groups import descending, rank_group
from elasticnas.supernet.plan import Cut, ElasticPart, ModelShape, SlicingPlan

ELASTIC_FILE = "elastic_adapter_config.json"
ELASTIC_FILES = (f"adapter/{ELASTIC_FILE}", ELASTIC_FILE)

_OWN_OPTIONS = ("sparse_adapter", "quantization_aware")
"""What SQFT's patch of PEFT adds to every ``adapter_config.json``."""

_TARGET = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.lora_A(?:\.default)?(?:\.weight)?")


class _Group(BaseModel):
    """Adapters that share a rank, and the ranks that they may have."""

    model_config = ConfigDict(extra="forbid")

    target: list[str] = Field(min_length=1)
    search_space: list[int] = Field(min_length=1)


class _Groups(RootModel[list[_Group]]):
    """The content of the file."""

    root: list[_Group] = Field(min_length=1)


def is_of_sqft(folder: Path, config: NncfConfig) -> bool:
    """Whether SQFT wrote an NNCF config of a checkpoint.

    It has SQFT's own section; or it cuts ranks alone, as Shears does too, and the adapter was
    saved by SQFT's patch of PEFT.

    Raises:
        InputError: the adapter's config cannot be read.
    """
    if config.section == SQFT_SECTION:
        return True
    if not config.cuts_ranks_alone or not (folder / "adapter" / ADAPTER_CONFIG).is_file():
        return False
    field = f"adapter/{ADAPTER_CONFIG}"
    return any(option in read_object(folder / field, field=field) for option in _OWN_OPTIONS)


def _is_meant(folder: Path, file: str) -> bool:
    return file in ELASTIC_FILES or is_of_sqft(folder, nncf_config(folder, file))


def _read(folder: Path, shape: ModelShape) -> ElasticPart:
    """The space of a checkpoint of SQFT, of either version.

    Dimension i is group i; ranks are sorted descending, whatever their order in the file.

    Raises:
        InputError: the file is no such list, or a group names an adapter that is not there.
    """
    file = next((each for each in ELASTIC_FILES if (folder / each).is_file()), None)
    if file is None:
        return read_nncf(folder, shape)
    groups = validated(_Groups, read_json(folder / file, field=file), field=file).root
    dimensions: list[Dimension] = []
    cuts: list[Cut] = []
    for index, group in enumerate(groups):
        field = f"{file}/{index}"
        modules = tuple(
            dict.fromkeys(_module(each, shape, field=f"{field}/target") for each in group.target)
        )
        ranks = descending(group.search_space, field=f"{field}/search_space")
        dimension, found = rank_group(shape, index, modules, ranks, field=f"{field}/search_space")
        dimensions.append(dimension)
        cuts += found
    return ElasticPart(SearchSpace(tuple(dimensions)), SlicingPlan(tuple(cuts)))


SQFT = Format("sqft", (*ELASTIC_FILES, *NNCF_FILES), _read, _is_meant)


def _module(target: str, shape: ModelShape, *, field: str) -> str:
    """The linear module whose adapter a target names."""
    match = _TARGET.fullmatch(target)
    if match is None or match["module"] not in shape.adapted:
        raise InputError(
            "the checkpoint has no adapter with this lora_A",
            field=field,
            value=target,
            remedy="use the elastic_adapter_config.json that was written with this adapter",
        )
    return match["module"]
