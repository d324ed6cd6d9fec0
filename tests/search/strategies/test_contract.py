"""Every strategy that comes with ElasticNAS keeps the contract of strategies."""

from __future__ import annotations

from elasticnas.api_schemas.strategies import STRATEGIES
from elasticnas.search.contracts.strategies import StrategyContract


def contract_of(name: str) -> type[StrategyContract]:
    return type(f"Test_{name}", (StrategyContract,), {"settings": {"name": name}})


for _name in STRATEGIES:
    if _name != "gp":  # its proposals take a second each; see the recorded searches
        globals()[f"Test_{_name}"] = contract_of(_name)
