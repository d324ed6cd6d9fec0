"""What every strategy is held to, by whole searches over a space of every kind of dimension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from elasticnas.api_schemas.costs import Axis, Cost, CostModel, Table
from elasticnas.api_schemas.searches import SearchCreate
from elasticnas.api_schemas.spaces import BLOCKS, FFN, HEADS, OPERATION, Condition, Dimension
from elasticnas.api_schemas.strategies import STRATEGIES
from elasticnas.search.cost import cost_report
from elasticnas.search.cost_terms import Extent, cost_model, linear, parameters
from elasticnas.search.loop import Proposal, Recorded, SearchLoop
from elasticnas.search.objectives import Objectives
from elasticnas.search.space import SearchSpace, SubnetConfig
from elasticnas.search.strategies import FACTORIES
from elasticnas.tasks.metric import METRICS, Metric
from elasticnas.tasks.metrics import ACCURACY

EVALUATIONS, LENGTH = 40, 16

ERROR = METRICS.register(
    "contract_error",
    Metric(
        "contract_error",
        ideal=ACCURACY.worst,
        worst=ACCURACY.ideal,
        standard_error=lambda values, rows: ACCURACY.standard_error(1.0 - values, rows),
    ),
)
"""One minus the accuracy: less of it is better, by just as much."""


class StrategyContract:
    """Subclass it, give the ``settings``, and have its methods run by pytest or by hand."""

    settings: ClassVar[dict[str, Any]]

    def test_it_is_registered(self) -> None:
        """Requests find its settings, and searches what makes it, by the same name."""
        assert STRATEGIES[self.settings["name"]].model_validate(self.settings)
        assert self.settings["name"] in FACTORIES

    def test_it_proposes_the_same_again(self) -> None:
        """Proposals follow from the request alone, and another seed is another search."""
        first = _subnets(_run(self._loop()))
        assert first == _subnets(_run(self._loop()))
        assert first != _subnets(_run(self._loop(seed=1)))

    def test_it_goes_on_from_its_history(self) -> None:
        """A search that is rebuilt after any result proposes what the first would have."""
        whole = _run(self._loop())
        for died_after in (3, 17, EVALUATIONS - 1):
            rows = [Recorded(p.number, p.subnet, True, _measured(p)) for p in whole[:died_after]]
            rebuilt = _run(self._loop(recorded=rows))
            assert _subnets(rebuilt) == _subnets(whole[died_after:])

    def test_no_subnet_comes_twice(self) -> None:
        """Also where dimensions that are not active differ."""
        subnets = _subnets(_run(self._loop()))
        assert len(set(subnets)) == len(subnets) == EVALUATIONS
        space = _problem()[0]
        assert all(space.decode(space.encode(each)) == each for each in subnets)

    def test_it_respects_constraints(self) -> None:
        """Where a later choice may be dearer, too."""
        space, model = _problem()
        bound = 0.6 * cost_report(model, space.maximal, LENGTH).params
        found = _run(self._loop(constraints=[{"cost": "params", "max": bound}]))
        assert len(found) == EVALUATIONS
        assert all(each.cost.params <= bound for each in found)

    def test_failures_do_not_stop_it(self) -> None:
        """Every third evaluation fails."""
        search = self._loop()
        found = _run(search, failing=3)
        assert len(found) == EVALUATIONS
        assert search.is_over

    def test_it_minimises_a_metric_of_which_less_is_better(self) -> None:
        """By the error it finds what it finds by the accuracy, to the last proposal."""
        by_accuracy = _run(self._loop())
        assert _subnets(_run(self._loop(metric=ERROR))) == _subnets(by_accuracy)

    def _loop(
        self,
        *,
        recorded: Sequence[Recorded] = (),
        seed: int = 0,
        metric: Metric = ACCURACY,
        **fields: Any,
    ) -> SearchLoop:
        space, model = _problem()
        request = SearchCreate.model_validate(
            {
                "supernet_id": "contract",
                "dataset_id": "contract",
                "strategy": self.settings,
                "seed": seed,
                "budget": {"evaluations": EVALUATIONS},
                "parallel_evaluations": 1,
                **fields,
            }
        )
        maximal = cost_report(model, space.maximal, LENGTH)
        objectives = Objectives((metric.name, Cost.PARAMS), maximal)
        return SearchLoop(
            request,
            space,
            model,
            max_length=LENGTH,
            objectives=objectives,
            recorded=recorded,
            rows=500,
        )


def _run(search: SearchLoop, failing: int | None = None) -> list[Proposal]:
    """Everything that the search proposes, in order."""
    waiting, done = [*search.start()], []
    while waiting:
        proposal = waiting.pop(0)
        done.append(proposal)
        fails = failing is not None and proposal.number % failing == failing - 1
        metrics = None if fails else _measured(proposal)
        waiting += search.record(proposal.number, metrics).proposals
    return done


def _subnets(proposals: Sequence[Proposal]) -> list[SubnetConfig]:
    return [each.subnet for each in proposals]


def _measured(proposal: Proposal) -> dict[str, float]:
    """Larger subnets are better, and luck decides a little: the same for equal subnets."""
    luck = int(proposal.subnet.key[:4], 16) / 0xFFFF
    accuracy = round(0.5 + proposal.cost.params / 10_000 + luck / 20, 3)
    return {ACCURACY.name: accuracy, ERROR.name: 1.0 - accuracy}


def _problem() -> tuple[SearchSpace, CostModel]:
    """Heads in order, operations without, a width where an operation has one, a block to skip."""
    blocks = Dimension(name="blocks", part=BLOCKS, choices=((0, 1), (0,), (1,)), ordered=False)
    dimensions, terms = [blocks], [parameters(100)]
    for block in range(2):
        kept = Condition(
            dimension="blocks",
            choices=tuple(c for c in blocks.choices if isinstance(c, tuple) and block in c),
        )
        heads = Dimension(
            name=f"{block}.heads", part=HEADS, layer=block, choices=(12, 9, 6), active_when=(kept,)
        )
        operation = Dimension(
            name=f"{block}.operation",
            part=OPERATION,
            layer=block,
            choices=("mix", "wide", "none"),
            ordered=False,
            active_when=(kept,),
        )
        wide = Condition(dimension=operation.name, choices=("wide",))
        width = Dimension(
            name=f"{block}.width", part=FFN, layer=block, choices=(40, 20, 10), active_when=(wide,)
        )
        dimensions += [heads, operation, width]
        axis = Axis(dimension=operation.name, choices=operation.choices)
        mixed = Extent(full=0, lengths=Table(axes=(axis,), values=(30, 5, 0)))
        terms += linear(Extent(full=12, dimension=heads.name), Extent(full=20), when=[kept])
        terms += linear(mixed, Extent(full=10), when=[kept])
        terms += linear(Extent(full=40, dimension=width.name), Extent(full=15), when=[kept, wide])
    return SearchSpace(tuple(dimensions)), cost_model(terms)
