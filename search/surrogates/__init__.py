"""Probabilistic regressions of a metric on the subnet."""

from __future__ import annotations

from typing import Literal

from elasticnas.search.space import SearchSpace
from elasticnas.search.surrogates.average import Average
from elasticnas.search.surrogates.bayesian_linear import BayesianLinear
from elasticnas.search.surrogates.features import Encoding
from elasticnas.search.surrogates.gaussian_process import GaussianProcess
from elasticnas.search.surrogates.protocol import Posterior, Surrogate
from elasticnas.search.surrogates.trees import Trees

__all__ = ["Posterior", "Surrogate", "make_surrogate"]

SurrogateName = Literal["average", "gaussian_process", "bayesian_linear", "trees"]


def make_surrogate(name: SurrogateName, space: SearchSpace) -> Surrogate:
    """The regression of this name over a space."""
    encoding = Encoding(space)
    match name:
        case "average":
            return Average([BayesianLinear(encoding), GaussianProcess(encoding)])
        case "gaussian_process":
            return GaussianProcess(encoding)
        case "bayesian_linear":
            return BayesianLinear(encoding)
        case "trees":
            return Trees(encoding)
