"""EFTNAS (Munoz et al. 2024): a whole fine-tuned model whose heads and neurons are elastic.

Training orders the channels of every layer by importance once, and stores them so: what a prefix
keeps is the most important, and nothing is reordered here. The model's folder holds the space as
``nncf_config.json``; it may be a checkpoint as it is, or lie in ``base/``.

The config is LoNAS's, with groups of base weights, but there is no adapter: that tells the two
apart. ``elasticity_state.pt``, a pickle with an enum of NNCF's, says nothing more than the config
does, and is not read.
"""

from __future__ import annotations

from pathlib import Path

from elasticnas.supernet.formats.format import Format
from elasticnas.supernet.formats.nncf import (
    NNCF_FILE,
    SQFT_SECTION,
    NncfConfig,
    nncf_config,
    read_nncf,
)


def is_of_eftnas(folder: Path, config: NncfConfig) -> bool:
    """Whether EFTNAS wrote an NNCF config of a checkpoint: there is no adapter in either."""
    has_adapter = config.names_adapters or (folder / "adapter").is_dir()
    return config.section != SQFT_SECTION and not has_adapter


def _is_meant(folder: Path, file: str) -> bool:
    return is_of_eftnas(folder, nncf_config(folder, file))


EFTNAS = Format("eftnas", (NNCF_FILE,), read_nncf, _is_meant)
