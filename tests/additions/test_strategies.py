"""A strategy of one's own, in one file, keeps the contract of those that come with ElasticNAS."""

from __future__ import annotations

from typing import Any, ClassVar

from elasticnas.search.contracts.strategies import StrategyContract
from tests.additions import strategy_regularized_evolution


class TestRegularizedEvolution(StrategyContract):
    settings: ClassVar[dict[str, Any]] = {
        "name": "regularized-evolution",
        **strategy_regularized_evolution.RegularizedEvolutionSettings(
            population_size=10, sample_size=3
        ).model_dump(exclude={"name"}),
    }
