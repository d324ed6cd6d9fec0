"""Every strategy that comes with ElasticNAS keeps the contract of strategies."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from elasticnas.api_schemas.strategies import STRATEGIES
from elasticnas.search.contracts.strategies import StrategyContract


def contract_of(name: str) -> type[StrategyContract]:
    return type(f"Test_{name}", (StrategyContract,), {"settings": {"name": name}})


for _name in STRATEGIES:
    if _name not in ("gp", "boshnas"):
        globals()[f"Test_{_name}"] = contract_of(_name)


@pytest.mark.slow
class TestGp(StrategyContract):
    """A proposal takes a second or more, so that the last few alone are of the process."""

    settings: ClassVar[dict[str, Any]] = {"name": "gp", "n_startup_trials": 36}


@pytest.mark.slow
class TestBoshnas(StrategyContract):
    """A fit takes some tenths of a second, and the contract asks for a hundred of them."""

    settings: ClassVar[dict[str, Any]] = {"name": "boshnas"}


@pytest.mark.slow
class TestPublishedBoshnas(StrategyContract):
    """Its nets are trained measurement by measurement, and its descents are long."""

    settings: ClassVar[dict[str, Any]] = {"name": "boshnas", "form": "published"}


@pytest.mark.slow
class TestBoshnasOnSequences(StrategyContract):
    settings: ClassVar[dict[str, Any]] = {"name": "boshnas", "embedding": "transformer2vec"}
