"""Quantised weights are refused: what is stored is not what a layer multiplies by.

A quantised checkpoint stores small integers, or floats of 8 bits, and scales beside them. Without
the scales the numbers mean nothing, and they often have the very shape of the plain weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch

from elasticnas.api_schemas.problems import InputError

PLAIN_DTYPES = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
"""What weights may be stored in."""

REMEDY = "load the model in float32, call dequantize() on it and save it again"

_BESIDE_WEIGHTS = re.compile(
    r"(^|[._])("
    r"SCB|weight_format|qweight|qzeros|scales|g_idx|perm|absmax|quant_map|nested_absmax|"
    r"nested_quant_map|quant_state\..+|weight_scale|weight_scale_2|weight_scale_inv|scale_inv|"
    r"weight_packed|weight_shape|weight_zero_point|weight_g_idx|input_scale|output_scale|"
    r"zero_point|scale|_packed_params.*|_qdata|int_data|scb|codes|codebooks"
    r")$"
)
"""The last part of the names under which scales and the like are stored: bitsandbytes, GPTQ, AWQ,
compressed-tensors, float8 checkpoints, AQLM, torchao and torch's own quantised layers."""


def refuse_quantised(names: Iterable[str], *, label: str) -> None:
    """Refuse tensors that only quantised weights come with; ``label`` is the folder's name.

    Raises:
        InputError: names the first of them.
    """
    for name in names:
        if _BESIDE_WEIGHTS.search(name):
            raise InputError(
                "this tensor belongs to quantised weights, which are not read",
                field=f"{label}/{name}",
                remedy=REMEDY,
            )


def require_plain(name: str, tensor: torch.Tensor, *, label: str) -> None:
    """Refuse a weight that is not stored in a plain floating dtype.

    Raises:
        InputError: names the tensor and its dtype.
    """
    if tensor.dtype not in PLAIN_DTYPES:
        raise InputError(
            "quantised weights are not read: the tensor must be float16, bfloat16, float32 or "
            "float64",
            field=f"{label}/{name}",
            value=str(tensor.dtype).removeprefix("torch."),
            remedy=REMEDY,
        )
