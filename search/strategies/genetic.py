"""Optuna's genetic samplers as strategies, on their populations alone."""

from __future__ import annotations

import warnings
from typing import Any

import optuna
from optuna.samplers import BaseGASampler, NSGAIIISampler, NSGAIISampler
from optuna.samplers.nsgaii import (
    BaseCrossover,
    BLXAlphaCrossover,
    SBXCrossover,
    UniformCrossover,
    VSBXCrossover,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, create_trial

from elasticnas.api_schemas.strategies import Nsga2Settings, Nsga3Settings
from elasticnas.search.pareto import Losses
from elasticnas.search.problem import SearchProblem
from elasticnas.search.space import SubnetConfig
from elasticnas.search.strategies.layer_crossover import LayerCrossover
from elasticnas.search.strategies.optuna import choice_ranges, derived_seed, searched, tell_space
from elasticnas.search.strategies.ordinal_crossover import OrdinalCrossover


class GeneticStrategy:
    """`nsga2` and `nsga3`, generational as in Deb et al. 2002.

    Evaluation ``number`` belongs to generation ``number // population_size``, and a generation
    starts once the last has been told in full. (Optuna run asynchronously overshoots its
    generations instead.)

    Of all that it was told, the strategy keeps the parents of the present generation and their
    children so far. In a study Optuna would keep every trial, and look through all of them for
    each proposal.
    """

    def __init__(
        self, settings: Nsga2Settings | Nsga3Settings, problem: SearchProblem, *, seed: int
    ) -> None:
        self._settings = settings
        self._space = problem.space
        self._layers = {each.name: each.layer for each in problem.space.dimensions}
        self._directions = [StudyDirection.MINIMIZE] * len(problem.objectives.names)
        self._seed = seed
        # What keeps layers together takes choices from parents only, in whatever order they are.
        self._distributions = choice_ranges(problem.space, by_order=settings.crossover != "layer")
        self._generation = 0
        self._parents: list[FrozenTrial] = []
        self._children: list[FrozenTrial] = []
        self._under_way: dict[int, SubnetConfig] = {}

    def ask(self, number: int, attempt: int) -> SubnetConfig | None:
        """See `Strategy.ask`; None at the end of a generation that is not told in full.

        Each proposal gets a sampler of its own, seeded from (seed, number, attempt), because a
        sampler's random state is stored nowhere: what is proposed then depends on the history
        alone.
        """
        # A rebuilt search may have begun some of the next generation from its rows.
        if number // self._settings.population_size > self._generation:
            return None
        sampler = self._sampler(derived_seed(self._seed, number, attempt))
        tell_space(sampler, self._distributions)
        params = self._study(sampler).ask(dict(self._distributions)).params
        return self._space.decode([params[d.name] for d in self._space.dimensions])

    def begin(self, number: int, subnet: SubnetConfig) -> None:
        """See `Strategy.begin`. What is under way has no part in breeding."""
        self._under_way[number] = subnet

    def tell(self, number: int, losses: Losses, *, failed: bool) -> None:
        """See `Strategy.tell`. A failure is as bad a result as any, and leaves no children."""
        del failed
        choices = self._space.encode(self._under_way.pop(number))
        child = create_trial(
            params=dict(zip(self._distributions, choices, strict=True)),
            distributions=dict(self._distributions),
            values=losses.tolist(),
        )
        child.number = number
        self._children.append(child)
        if len(self._children) == self._settings.population_size:
            self._generation += 1
            self._parents, self._children = self._selected(), []

    def _selected(self) -> list[FrozenTrial]:
        """The parents of this generation, chosen from the last one's parents and children.

        NSGA-III draws niches at random as it selects; the seed is the generation's. In order of
        their numbers, as Optuna reads parents back.
        """
        sampler = self._sampler(derived_seed(self._seed, self._generation, -1))
        selected = sampler.select_parent(self._study(sampler), self._generation)
        return sorted(selected, key=lambda trial: trial.number)

    def _study(self, sampler: BaseGASampler) -> optuna.Study:
        """A study for one question: it says how many objectives there are, and holds no trial."""
        return optuna.create_study(directions=self._directions, sampler=sampler)

    def _sampler(self, seed: int) -> BaseGASampler:
        settings = self._settings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            common: dict[str, Any] = {
                "seed": seed,
                "population_size": settings.population_size,
                "crossover": self._crossover(),
                "crossover_prob": settings.crossover_prob,
                "swapping_prob": settings.swapping_prob,
                "mutation_prob": settings.mutation_prob,
            }
            sampler: _Nsga2 | _Nsga3
            match settings:
                case Nsga2Settings():
                    sampler = _Nsga2(**common)
                case Nsga3Settings():
                    sampler = _Nsga3(dividing_parameter=settings.dividing_parameter, **common)
        sampler.parents, sampler.children = self._parents, self._children
        return sampler

    def _crossover(self) -> BaseCrossover:
        match self._settings.crossover:
            case "uniform":
                return UniformCrossover(self._settings.swapping_prob)
            case "ordinal":
                return OrdinalCrossover()
            case "layer":
                return LayerCrossover(
                    [self._layers[name] for name in searched(self._distributions)]
                )
            case "sbx":
                return SBXCrossover()
            case "v_sbx":
                return VSBXCrossover()
            case "blx_alpha":
                return BLXAlphaCrossover()


class _GivenPopulations(BaseGASampler):
    """A genetic sampler that is given its populations, and need not look for them in a study.

    There are always two: parents, and as children those told so far.
    """

    parents: list[FrozenTrial]
    children: list[FrozenTrial]

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        """Any: there is only one to breed."""
        del study, trial
        return 1

    def get_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """The children."""
        del study, generation
        return self.children

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """The parents; none in the first generation, which is random."""
        del study, generation
        return self.parents


class _Nsga2(_GivenPopulations, NSGAIISampler):
    """NSGA-II on given populations."""


class _Nsga3(_GivenPopulations, NSGAIIISampler):
    """NSGA-III on given populations."""
