"""Search strategies behind one small ask/tell protocol."""

from __future__ import annotations

from elasticnas.api_schemas.strategies import (
    HillClimbingSettings,
    LinasSettings,
    Nsga2Settings,
    Nsga3Settings,
    ParetoSettings,
    RandomSettings,
    StrategySettings,
)
from elasticnas.search.problem import SearchProblem
from elasticnas.search.strategies.feasible_random import FeasibleRandomStrategy
from elasticnas.search.strategies.genetic import GeneticStrategy
from elasticnas.search.strategies.hill_climbing import HillClimbingStrategy
from elasticnas.search.strategies.linas import LinasStrategy
from elasticnas.search.strategies.optuna import OptunaStrategy
from elasticnas.search.strategies.pareto import ParetoStrategy
from elasticnas.search.strategies.protocol import Strategy

__all__ = ["Strategy", "make_strategy"]


def make_strategy(settings: StrategySettings, problem: SearchProblem, *, seed: int) -> Strategy:
    """The strategy that ``settings`` name, for a search of which ``problem`` is all it knows."""
    match settings:
        case ParetoSettings():
            return ParetoStrategy(settings, problem, seed=seed)
        case LinasSettings():
            return LinasStrategy(settings, problem, seed=seed)
        case HillClimbingSettings():
            return HillClimbingStrategy(settings, problem, seed=seed)
        case Nsga2Settings() | Nsga3Settings():
            return GeneticStrategy(settings, problem, seed=seed)
        case RandomSettings() if problem.constraints:
            return FeasibleRandomStrategy(problem, seed=seed)
        case _:
            return OptunaStrategy(settings, problem, seed=seed)
