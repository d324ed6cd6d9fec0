"""A space-filling first design, stratified along the cost axis."""

from __future__ import annotations

import numpy as np

from elasticnas.search.activity import Indices
from elasticnas.search.evolution import Choices, distinct, drawn, random_subnets
from elasticnas.search.problem import SearchProblem


def stratified(
    problem: SearchProblem, count: int, rng: np.random.Generator, choices: Choices | None = None
) -> Indices:
    """Feasible subnets (at most ``count``, dimensions), in random order.

    The cost axis between the cheapest and the dearest candidate is cut into ``count`` strata; from
    each comes the candidate that differs from those already chosen in the most dimensions. Without
    a cost objective the share of the choices kept takes its place. By ``choices`` that have weights
    each stratum draws one of its candidates instead, by the product of its choices' weights.
    """
    choices = choices or problem.choices
    candidates = distinct(problem.repair(random_subnets(64 * count, choices, rng), rng))
    costs = problem.cost_losses(candidates)
    along = costs[:, 0] if costs.shape[1] else -candidates.mean(axis=1)
    edges = np.linspace(along.min(), along.max() + 1e-12, count + 1)
    stratum = np.clip(np.searchsorted(edges, along, side="right") - 1, 0, count - 1)
    chosen: list[int] = []
    likely = choices.likelihoods(candidates)
    for level in rng.permutation(count):
        members = np.flatnonzero(stratum == level)
        if len(members) == 0:
            continue
        if choices.weights is not None:
            shares = np.exp(likely[members] - likely[members].max())
            chosen.append(int(members[drawn(shares, rng)]))
        elif chosen:
            apart = candidates[members][:, None, :] != candidates[chosen][None, :, :]
            chosen.append(int(members[np.argmax(apart.sum(axis=2).min(axis=1))]))
        else:
            chosen.append(int(rng.choice(members)))
    return candidates[chosen]
