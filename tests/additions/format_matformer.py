"""A format that does not come with ElasticNAS, in one file: MatFormer (Devvrit et al. 2023).

Its FFNs are trained at several widths, each the first neurons of the next wider one; a subnet may
take another width in every block ("mix'n'match"). ``matformer.json`` lists the widths.
"""

from __future__ import annotations

import json
from pathlib import Path

from elasticnas.api_schemas.spaces import FFN, Dimension
from elasticnas.search.space import SearchSpace
from elasticnas.supernet.formats import FORMATS
from elasticnas.supernet.formats.format import Format
from elasticnas.supernet.plan import ElasticPart, ModelShape, SlicingPlan

FILE = "matformer.json"


def read(folder: Path, shape: ModelShape) -> ElasticPart:
    widths = json.loads((folder / FILE).read_text(encoding="utf-8"))["ffn_widths"]
    dimensions, cuts = [], []
    for layer in range(shape.num_layers):
        name = f"FFN of block {layer}"
        choices = tuple(sorted(widths, reverse=True))
        dimensions.append(Dimension(name=name, part=FFN, layer=layer, choices=choices))
        cuts += shape.ffn_cuts(name, layer)
    return ElasticPart(SearchSpace(tuple(dimensions)), SlicingPlan(tuple(cuts)))


MATFORMER = FORMATS.register("matformer", Format("matformer", (FILE,), read))
