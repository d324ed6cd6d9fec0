"""LoNAS (Munoz et al. 2024): an NNCF config whose groups cut base weights, most often ranks too.

On BERT a layer has three groups: query, key and value with the adapters' second halves (heads); the
first halves (rank); the first FFN layer (neurons). On LLaMA, with the same letters in each layer:

    rank of q, k, v      rows of their lora_A, columns of their lora_B
    F, FFN neurons       rows of gate and up and of their lora_B; columns of down and of its lora_A
    rank of gate and up  rows of their lora_A, columns of their lora_B

where the rank of down stays whole; and BLOOM has one fused layer in place of q, k, v, and no gate.
"""

from __future__ import annotations

from pathlib import Path

from elasticnas.supernet.formats.eftnas import is_of_eftnas
from elasticnas.supernet.formats.format import Format
from elasticnas.supernet.formats.nncf import NNCF_FILES, SQFT_SECTION, nncf_config, read_nncf


def _is_meant(folder: Path, file: str) -> bool:
    """Whether an NNCF config cuts more than ranks, and is neither SQFT's nor EFTNAS's."""
    config = nncf_config(folder, file)
    if config.section == SQFT_SECTION or config.cuts_ranks_alone:
        return False
    return not is_of_eftnas(folder, config)


LONAS = Format("lonas", NNCF_FILES, read_nncf, _is_meant)
