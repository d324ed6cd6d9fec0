"""Writing a safetensors file a tensor at a time.

The library's own writer takes all tensors at once. The format
(https://github.com/huggingface/safetensors): the header's length in 8 bytes, little-endian; the
header, a JSON object from names to dtype, shape and place; the tensors' bytes, end to end.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch

from elasticnas.supernet.export.lazy_tensors import LazyTensor

_CODES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_safetensors(tensors: Mapping[str, LazyTensor], file: Path) -> int:
    """Write ``file``; returns how many of its numbers are not zero.

    The widest dtypes come first, as the library orders them, so that every tensor is aligned.
    """
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in order:
        each = tensors[name]
        start, end = end, end + math.prod(each.shape) * each.dtype.itemsize
        place = {"dtype": _CODES[each.dtype], "shape": each.shape, "data_offsets": (start, end)}
        header[name] = place
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    nonzero = 0
    with file.open("wb") as opened:
        opened.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            tensor = tensors[name].make()
            nonzero += int(torch.count_nonzero(tensor))
            opened.write(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return nonzero
