"""Which dimensions decide how good a subnet is."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from elasticnas.search.space import SearchSpace

FEWEST = 10
"""Subnets it takes: of fewer, the better tenth is a single one."""


def dimension_importance(
    space: SearchSpace, choices: Sequence[Sequence[int]], values: Sequence[float]
) -> dict[str, float]:
    """How much each dimension matters for being among the best tenth; the shares add up to 1.

    ``choices`` are the encoded subnets and ``values`` what each measured, larger being better.
    PED-ANOVA (Watanabe et al. 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance
    in Arbitrary Subspaces") asks how differently a choice is distributed among the best tenth and
    among all; a search that has looked mostly at good subnets does not mislead it, and of 5,000
    subnets with 60 dimensions it takes a second where fANOVA takes 40.

    The largest comes first. All are 0 when nothing tells them apart.

    Raises:
        ValueError: there are fewer than `FEWEST` subnets.
    """
    if len(values) < FEWEST:
        raise ValueError(f"importance takes {FEWEST} measured subnets, found {len(values)}")
    # A dimension with one choice decides nothing, and Optuna refuses distributions of one value.
    free = [i for i, count in enumerate(space.cardinalities) if count > 1]
    none = {dimension.name: 0.0 for dimension in space.dimensions}
    if not free or np.ptp(np.asarray(values)) == 0.0:
        return none
    distributions: dict[str, BaseDistribution] = {
        space.dimensions[i].name: IntDistribution(0, space.cardinalities[i] - 1)
        if space.dimensions[i].ordered
        else CategoricalDistribution(range(space.cardinalities[i]))
        for i in free
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(direction="maximize")
        study.add_trials(
            [
                create_trial(
                    params={space.dimensions[i].name: encoded[i] for i in free},
                    distributions=dict(distributions),
                    value=value,
                )
                for encoded, value in zip(choices, values, strict=True)
            ]
        )
        found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    shares = none | {name: float(share) for name, share in found.items()}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))
