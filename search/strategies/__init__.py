"""Search strategies behind one small ask/tell protocol."""

from __future__ import annotations

from collections.abc import Callable

from elasticnas.api_schemas.registry import Registry
from elasticnas.api_schemas.strategies import (
    BoshnasSettings,
    RandomSettings,
    StrategySettings,
)
from elasticnas.search.problem import SearchProblem
from elasticnas.search.strategies.boshnas import BoshnasStrategy
from elasticnas.search.strategies.boshnas_published import PublishedBoshnasStrategy
from elasticnas.search.strategies.feasible_random import FeasibleRandomStrategy
from elasticnas.search.strategies.genetic import GeneticStrategy
from elasticnas.search.strategies.hill_climbing import HillClimbingStrategy
from elasticnas.search.strategies.linas import LinasStrategy
from elasticnas.search.strategies.optuna import OptunaStrategy
from elasticnas.search.strategies.pareto import ParetoStrategy
from elasticnas.search.strategies.protocol import Strategy

__all__ = ["FACTORIES", "Strategy", "make_strategy"]

Factory = Callable[..., Strategy]
"""Takes its settings, the `SearchProblem`, and a ``seed``."""

FACTORIES: Registry[Factory] = Registry("strategy")
"""What makes a strategy of its settings, by the name that these have in `STRATEGIES`."""


def make_strategy(settings: StrategySettings, problem: SearchProblem, *, seed: int) -> Strategy:
    """The strategy that ``settings`` name, for a search of which ``problem`` is all it knows."""
    return FACTORIES[settings.name](settings, problem, seed=seed)


def _random(settings: RandomSettings, problem: SearchProblem, *, seed: int) -> Strategy:
    if problem.constraints or problem.space.activity.is_conditional:
        return FeasibleRandomStrategy(problem, seed=seed)
    return OptunaStrategy(settings, problem, seed=seed)


def _boshnas(settings: BoshnasSettings, problem: SearchProblem, *, seed: int) -> Strategy:
    if settings.form == "published":
        return PublishedBoshnasStrategy(settings, problem, seed=seed)
    return BoshnasStrategy(settings, problem, seed=seed)


FACTORIES.register("pareto", ParetoStrategy)
FACTORIES.register("boshnas", _boshnas)
FACTORIES.register("linas", LinasStrategy)
FACTORIES.register("hill-climbing", HillClimbingStrategy)
FACTORIES.register("nsga2", GeneticStrategy)
FACTORIES.register("nsga3", GeneticStrategy)
FACTORIES.register("tpe", OptunaStrategy)
FACTORIES.register("gp", OptunaStrategy)
FACTORIES.register("random", _random)
