"""Shears (Munoz and Yuan 2024): elastic LoRA ranks alone, on a base made sparse by Wanda.

The space is an NNCF config with groups of ``lora_A`` alone, each of which shares a rank, most often
as a template for all layers. That tells it from LoNAS, whose groups cut base weights: the zeros of
a sparse base lie in ordinary tensors, and a dense base makes no difference in how it is read.
"""

from __future__ import annotations

from pathlib import Path

from elasticnas.supernet.formats.format import Format
from elasticnas.supernet.formats.nncf import NNCF_FILES, nncf_config, read_nncf
from elasticnas.supernet.formats.sqft import is_of_sqft


def _is_meant(folder: Path, file: str) -> bool:
    """Whether an NNCF config cuts ranks alone, and is not SQFT's."""
    config = nncf_config(folder, file)
    return config.cuts_ranks_alone and not is_of_sqft(folder, config)


SHEARS = Format("shears", NNCF_FILES, read_nncf, _is_meant)
