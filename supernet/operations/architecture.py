"""FlexiBERT's own ways to write an architecture down, from the layers of a config.

Its ``modelDict`` (jha-lab/txf_design-space, ``embeddings/utils/graph_util.py``) has the number of
layers ``l`` and, for each, the operation ``o`` (``sa``, ``l``, ``c``) with its parameter ``p``
(``sdp``, ``wma``, ``dft``, ``dct``, a kernel), hidden size ``h``, heads ``n`` and the list of the
feed-forward layers' neurons ``f``. Its config files say the same by lists with longer names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from elasticnas.api_schemas.model_dicts import KINDS, LISTS
from elasticnas.supernet.operations import OPERATIONS
from elasticnas.supernet.operations.config import FURTHER


def model_dict(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The ``modelDict`` of a model, of whose layers each has one operation."""
    written = [_written(layer) for layer in layers]
    return {"l": len(layers), **{key: [each[key] for each in written] for key in LISTS}}


def flexibert_lists(layers: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The same as FlexiBERT's config files say it."""
    told = model_dict(layers)
    return {name: told[key] for key, name in LISTS.items()}


def _written(layer: Mapping[str, Any]) -> dict[str, Any]:
    (name,) = layer["operations"]
    stack = [layer["ffn"], *(layer[name] for name in FURTHER if layer[name])]
    return {
        "o": KINDS[name],
        "p": layer["kernel"] if OPERATIONS[name].has_kernel else name,
        "h": layer["hidden"],
        "n": layer["heads"],
        "f": stack,
    }
