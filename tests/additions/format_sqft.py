"""A format that does not come with ElasticNAS, in one file: SQFT (Munoz et al. 2024).

``elastic_adapter_config.json`` lists groups of adapters whose ranks are elastic together; with
SparsePEFT their merge keeps the zeros of the base.
"""

from __future__ import annotations

import json
from pathlib import Path

from elasticnas.api_schemas.spaces import RANK, Dimension
from elasticnas.search.space import SearchSpace
from elasticnas.supernet.formats import FORMATS
from elasticnas.supernet.formats.format import Format
from elasticnas.supernet.plan import ElasticPart, Join, ModelShape, Side, SlicingPlan

FILE = "elastic_adapter_config.json"


def read(folder: Path, shape: ModelShape) -> ElasticPart:
    groups = json.loads((folder / FILE).read_text(encoding="utf-8"))
    dimensions, cuts = [], []
    for number, group in enumerate(groups):
        choices = tuple(sorted(group["search_space"], reverse=True))
        dimension = Dimension(name=f"group {number}", part=RANK, choices=choices)
        dimensions.append(dimension)
        for target in group["target"]:
            module = target.removeprefix("base_model.model.").removesuffix(".lora_A")
            cuts += shape.cuts(dimension.name, module, Side.RANK)
    space = SearchSpace(tuple(dimensions))
    return ElasticPart(space, SlicingPlan(tuple(cuts)), join=Join.MASKED)


SQFT = FORMATS.register("sqft", Format("sqft", FILE, read))
