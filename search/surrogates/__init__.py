"""Probabilistic regressions of a metric on the subnet."""

from __future__ import annotations

from typing import Literal

from search.space import SearchSpace
from search.surrogates.average import Average
from search.surrogates.bayesian_linear import BayesianLinear
from search.surrogates.features import Encoding
from search.surrogates.gaussian_process import GaussianProcess
from search.surrogates.protocol import Posterior, Surrogate
from search.surrogates.trees import Trees

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
