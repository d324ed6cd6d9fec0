"""The settings of each search strategy, validated by name."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RandomSettings(_Settings):
    """Uniform sampling of every dimension."""

    name: Literal["random"] = "random"


class _GeneticSettings(_Settings):
    population_size: Annotated[int, Field(ge=4, le=1000)] = 40
    crossover: Literal["uniform", "sbx", "blx_alpha", "v_sbx"] = "uniform"
    crossover_prob: Probability = 0.9
    swapping_prob: Probability = 0.5
    mutation_prob: Probability | None = Field(
        default=None, description="per dimension; None means 1 / number of dimensions"
    )


class Nsga2Settings(_GeneticSettings):
    """NSGA-II (Deb et al. 2002), Optuna's sampler."""

    name: Literal["nsga2"] = "nsga2"


class Nsga3Settings(_GeneticSettings):
    """NSGA-III (Deb & Jain 2014), Optuna's sampler."""

    name: Literal["nsga3"] = "nsga3"
    dividing_parameter: Annotated[int, Field(ge=1, le=100)] = 3


class TpeSettings(_Settings):
    """Multi-objective tree-structured Parzen estimator (Ozaki et al. 2022), Optuna's sampler."""

    name: Literal["tpe"] = "tpe"
    n_startup_trials: Annotated[int, Field(ge=1, le=10_000)] = 20
    n_ei_candidates: Annotated[int, Field(ge=1, le=1000)] = 24
    multivariate: bool = True


StrategySettings = Annotated[
    RandomSettings | Nsga2Settings | Nsga3Settings | TpeSettings, Field(discriminator="name")
]
