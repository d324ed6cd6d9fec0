"""Optuna's samplers as strategies, on an in-memory study of integer-coded dimensions.

The database, not Optuna, is the record of a search: an Optuna RDB study would commit each parameter
of each trial by itself. The study here is a cache that can be rebuilt at any time.
"""

from __future__ import annotations

import hashlib
import warnings
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)
from optuna.samplers.nsgaii import (
    BaseCrossover,
    BLXAlphaCrossover,
    SBXCrossover,
    UniformCrossover,
    VSBXCrossover,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from api_schemas.strategies import (
    GpSettings,
    Nsga2Settings,
    Nsga3Settings,
    RandomSettings,
    TpeSettings,
)
from search.pareto import Losses
from search.problem import SearchProblem
from search.space import SubnetConfig
from search.strategies.layer_crossover import LayerCrossover
from search.strategies.ordinal_crossover import OrdinalCrossover

OptunaSettings = RandomSettings | Nsga2Settings | Nsga3Settings | TpeSettings | GpSettings

optuna.logging.set_verbosity(optuna.logging.WARNING)


class OptunaStrategy:
    """`random`, `nsga2`, `nsga3`, `tpe` and `gp`.

    Each proposal gets a sampler of its own, seeded from (seed, number, attempt), because a
    sampler's random state is stored nowhere: what is proposed then depends on the history alone.

    The genetic strategies are generational, as in Deb et al. 2002: evaluation ``number`` belongs to
    generation ``number // population_size``, and a generation starts once the last has been told in
    full. (Optuna run asynchronously overshoots its generations instead.)
    """

    def __init__(self, settings: OptunaSettings, problem: SearchProblem, *, seed: int) -> None:
        self._settings = settings
        self._space = space = problem.space
        self._first_layers = problem.first_layers
        self._seed = seed
        self._distributions: dict[str, BaseDistribution] = {
            dimension.name: _Choices(0, len(dimension.choices) - 1)
            for dimension in space.dimensions
        }
        self._study = optuna.create_study(
            directions=["minimize"] * len(problem.objectives.names), sampler=RandomSampler(seed=0)
        )
        self._trials: dict[int, int] = {}
        self._created = 0
        self._selected = 0
        self._told = 0

    def ask(self, number: int, attempt: int) -> SubnetConfig | None:
        """See `Strategy.ask`; None at the end of a generation that is not told in full."""
        if self._generation_is_open(number):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._select_parents(number)
            sampler = self._sampler(_derive(self._seed, number, attempt))
            _tell_space(sampler, self._distributions)
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
                system_attrs=self._generation_attribute(number),
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
        self._told += 1

    def _generation_is_open(self, number: int) -> bool:
        """True while the generation before that of ``number`` is not told in full.

        A rebuilt search may have begun some of a generation from its rows before that.
        """
        if not isinstance(self._settings, Nsga2Settings | Nsga3Settings):
            return False
        return self._told < self._generation(number) * self._settings.population_size

    def _select_parents(self, number: int) -> None:
        """Have Optuna select, and remember, the parents of every generation up to this number's.

        A rebuilt study must come to the very parents that the lost one had. NSGA-III draws niches
        at random as it selects, so the seed is the generation's and not that of whichever proposal
        asks first; and Optuna orders parents differently when it selects them than when it reads
        them back, so they are selected before any proposal reads them.
        """
        if not isinstance(self._settings, Nsga2Settings | Nsga3Settings):
            return
        for generation in range(self._selected + 1, self._generation(number) + 1):
            sampler = self._sampler(_derive(self._seed, generation, -1))
            assert isinstance(sampler, NSGAIISampler | NSGAIIISampler)
            sampler.get_parent_population(self._study, generation)
            self._selected = generation

    def _generation(self, number: int) -> int:
        """The generation of an evaluation; only the genetic strategies have any."""
        assert isinstance(self._settings, Nsga2Settings | Nsga3Settings)
        return number // self._settings.population_size

    def _generation_attribute(self, number: int) -> dict[str, int]:
        """What Optuna's genetic samplers read a trial's generation from."""
        if isinstance(self._settings, Nsga2Settings):
            sampler: type[NSGAIISampler | NSGAIIISampler] = NSGAIISampler
        elif isinstance(self._settings, Nsga3Settings):
            sampler = NSGAIIISampler
        else:
            return {}
        return {sampler._get_generation_key(): self._generation(number)}

    def _sampler(self, seed: int) -> BaseSampler:
        settings = self._settings
        match settings:
            case RandomSettings():
                return RandomSampler(seed=seed)
            case Nsga2Settings():
                return NSGAIISampler(seed=seed, **self._genetic(settings))
            case Nsga3Settings():
                dividing = settings.dividing_parameter
                return NSGAIIISampler(
                    seed=seed, dividing_parameter=dividing, **self._genetic(settings)
                )
            case TpeSettings():
                return TPESampler(
                    seed=seed,
                    n_startup_trials=settings.n_startup_trials,
                    n_ei_candidates=settings.n_ei_candidates,
                    multivariate=settings.multivariate,
                )
            case GpSettings():
                # Optuna imports torch for it, at the first proposal and only then.
                return GPSampler(seed=seed, n_startup_trials=settings.n_startup_trials)

    def _genetic(self, settings: Nsga2Settings | Nsga3Settings) -> dict[str, Any]:
        """What the two genetic samplers have in common."""
        return {
            "population_size": settings.population_size,
            "crossover": self._crossover(settings),
            "crossover_prob": settings.crossover_prob,
            "swapping_prob": settings.swapping_prob,
            "mutation_prob": settings.mutation_prob,
        }

    def _crossover(self, settings: Nsga2Settings | Nsga3Settings) -> BaseCrossover:
        match settings.crossover:
            case "uniform":
                return UniformCrossover(settings.swapping_prob)
            case "ordinal":
                return OrdinalCrossover()
            case "layer":
                return LayerCrossover(
                    [self._first_layers[name] for name in _searched(self._distributions)]
                )
            case "sbx":
                return SBXCrossover()
            case "v_sbx":
                return VSBXCrossover()
            case "blx_alpha":
                return BLXAlphaCrossover()


class _Choices(IntDistribution):
    """The indices of a dimension's choices, which never change.

    Optuna copies every trial deeply, twice, and in a large space that was mostly these.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> _Choices:
        return self


def _searched(distributions: dict[str, BaseDistribution]) -> dict[str, BaseDistribution]:
    """The dimensions with more than one choice, in the order in which Optuna's samplers go."""
    return {name: d for name, d in sorted(distributions.items()) if not d.single()}


def _tell_space(sampler: BaseSampler, distributions: dict[str, BaseDistribution]) -> None:
    """Spare a new sampler the comparison of all trials' dimensions: they are always the same."""
    searched = _searched(distributions)

    def infer(study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        del study, trial
        return searched

    sampler.infer_relative_search_space = infer  # type: ignore[method-assign]


def _derive(seed: int, number: int, attempt: int) -> int:
    """A 32-bit seed for one proposal, independent of the process and of Python's hash seed."""
    digest = hashlib.sha256(f"{seed}/{number}/{attempt}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
