"""Search strategies behind one small ask/tell protocol."""

from __future__ import annotations

from api_schemas.strategies import StrategySettings
from search.space import SearchSpace
from search.strategies.optuna import OptunaStrategy
from search.strategies.protocol import Strategy

__all__ = ["Strategy", "make_strategy"]


def make_strategy(
    settings: StrategySettings, space: SearchSpace, *, objectives: int, seed: int
) -> Strategy:
    """The strategy that ``settings`` name, for ``objectives`` losses."""
    return OptunaStrategy(settings, space, objectives=objectives, seed=seed)
