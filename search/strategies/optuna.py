"""Optuna's samplers as strategies, on an in-memory study of integer-coded dimensions.

The database, not Optuna, is the record of a search: an Optuna RDB study would commit each parameter
of each trial by itself. The study here is a cache that can be rebuilt at any time.
"""

from __future__ import annotations

import hashlib
import warnings
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from elasticnas.api_schemas.strategies import GpSettings, RandomSettings, TpeSettings
from elasticnas.search.pareto import Losses
from elasticnas.search.problem import SearchProblem
from elasticnas.search.space import SearchSpace, SubnetConfig

OptunaSettings = RandomSettings | TpeSettings | GpSettings

optuna.logging.set_verbosity(optuna.logging.WARNING)


class OptunaStrategy:
    """`random`, `tpe` and `gp`; the last two learn from all trials, and their steps grow with them.

    Each proposal gets a sampler of its own, seeded from (seed, number, attempt), because a
    sampler's random state is stored nowhere: what is proposed then depends on the history alone.
    """

    def __init__(self, settings: OptunaSettings, problem: SearchProblem, *, seed: int) -> None:
        self._settings = settings
        self._space = problem.space
        self._seed = seed
        self._distributions = choice_ranges(problem.space)
        self._objectives = len(problem.objectives.names)
        self._study = self._empty_study(RandomSampler(seed=0))
        self._trials: dict[int, int] = {}
        self._created = 0

    def ask(self, number: int, attempt: int) -> SubnetConfig | None:
        """See `Strategy.ask`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = self._sampler(derived_seed(self._seed, number, attempt))
            tell_space(sampler, self._distributions)
            if isinstance(self._settings, RandomSettings):
                # A study keeps what it was only asked for, and `random` has no use for it.
                self._study = self._empty_study(sampler)
            self._study.sampler = sampler
            trial = self._study.ask(dict(self._distributions))
        # The trial was only asked for its parameters: what is evaluated (perhaps after a repair,
        # perhaps as part of a rebuild) is entered by `begin`, always in the same way.
        self._study.tell(trial, state=TrialState.FAIL)
        self._created += 1
        params = trial.params
        return self._space.decode([params[d.name] for d in self._space.dimensions])

    def begin(self, number: int, subnet: SubnetConfig) -> None:
        """See `Strategy.begin`. TPE sees the running trial (constant liar); `random` sees none."""
        if isinstance(self._settings, RandomSettings):
            return
        self._study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=dict(zip(self._distributions, self._space.encode(subnet), strict=True)),
                distributions=dict(self._distributions),
            )
        )
        self._trials[number] = self._created
        self._created += 1

    def tell(self, number: int, losses: Losses, *, failed: bool) -> None:
        """See `Strategy.tell`. A failure is as bad a result as any: Optuna learns to avoid it."""
        del failed
        if isinstance(self._settings, RandomSettings):
            return
        self._study.tell(self._trials.pop(number), losses.tolist())

    def _empty_study(self, sampler: BaseSampler) -> optuna.Study:
        return optuna.create_study(directions=["minimize"] * self._objectives, sampler=sampler)

    def _sampler(self, seed: int) -> BaseSampler:
        settings = self._settings
        match settings:
            case RandomSettings():
                return RandomSampler(seed=seed)
            case TpeSettings():
                return TPESampler(
                    seed=seed,
                    n_startup_trials=settings.n_startup_trials,
                    n_ei_candidates=settings.n_ei_candidates,
                    multivariate=settings.multivariate,
                )
            case GpSettings():
                # The one strategy that needs torch, so that nobody else loads it.
                from elasticnas.search.strategies.gp import gp_sampler

                return gp_sampler(settings, seed)


class _Choices(IntDistribution):
    """The indices of a dimension's choices, which never change.

    Optuna copies every trial deeply, twice, and in a large space that was mostly these.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> _Choices:
        return self


class _Names(CategoricalDistribution):
    """As `_Choices`, where choices have no order."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Names:
        return self


def choice_ranges(space: SearchSpace, *, by_order: bool = True) -> dict[str, BaseDistribution]:
    """What Optuna is to know of a space: the indices of each dimension's choices.

    Without ``by_order`` they are numbers, also where the choices have no order.
    """
    return {
        dimension.name: _Choices(0, len(dimension.choices) - 1)
        if dimension.ordered or not by_order
        else _Names(range(len(dimension.choices)))
        for dimension in space.dimensions
    }


def searched(distributions: dict[str, BaseDistribution]) -> dict[str, BaseDistribution]:
    """The dimensions with more than one choice, in the order in which Optuna's samplers go."""
    return {name: d for name, d in sorted(distributions.items()) if not d.single()}


def tell_space(sampler: BaseSampler, distributions: dict[str, BaseDistribution]) -> None:
    """Spare a new sampler the comparison of all trials' dimensions: they are always the same."""
    space = searched(distributions)

    def infer(study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        del study, trial
        return space

    sampler.infer_relative_search_space = infer  # type: ignore[method-assign]


def derived_seed(seed: int, number: int, attempt: int) -> int:
    """A 32-bit seed for one proposal, independent of the process and of Python's hash seed."""
    digest = hashlib.sha256(f"{seed}/{number}/{attempt}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
