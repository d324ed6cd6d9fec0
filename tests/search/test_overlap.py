"""How much of a subnet another one has, by hand, and which one a training begins with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from elasticnas.api_schemas.costs import CostModel
from elasticnas.api_schemas.spaces import BLOCKS, FFN, OPERATION, Condition, Dimension, leading
from elasticnas.search.cost_terms import Extent, cost_model, linear, parameters
from elasticnas.search.loop import Recorded
from elasticnas.search.overlap import Overlap
from elasticnas.search.space import SearchSpace, SubnetConfig
from elasticnas.search.starts import Starts
from tests.search.spaces import accuracy
from tests.search.test_loop import loop, request

DEPTH = Dimension(name="depth", part=BLOCKS, choices=(3, 2))
EMBEDDINGS, MIXING, HIDDEN = 100, 16, 4


def designs() -> tuple[SearchSpace, CostModel]:
    """Three layers, each of one of two operations with 16 weights and an FFN of 8 weights a neuron,
    behind 100 numbers that belong to no layer; the last layer may be left out."""
    dimensions, terms = [DEPTH], [parameters(EMBEDDINGS)]
    for layer in range(3):
        there = tuple(p.when for p in leading(DEPTH, 3) if (p.layer, p.half) == (layer, "ffn"))
        names = (f"{layer}.operation", f"{layer}.ffn")
        dimensions += [
            Dimension(
                name=names[0],
                part=OPERATION,
                layer=layer,
                choices=("sdp", "dct"),
                ordered=False,
                active_when=there,
            ),
            Dimension(name=names[1], part=FFN, layer=layer, choices=(10, 5), active_when=there),
        ]
        width, hidden = Extent(full=10, dimension=names[1]), Extent(full=HIDDEN)
        own = [*linear(width, hidden, when=there), *linear(hidden, width, when=there)]
        for operation in ("sdp", "dct"):
            when = (*there, Condition(dimension=names[0], choices=(operation,)))
            own += linear(hidden, hidden, when=when)
        terms += [each.model_copy(update={"layer": layer}) for each in own]
    return SearchSpace(tuple(dimensions)), cost_model(terms)


SPACE, MODEL = designs()


def design(**choices: object) -> SubnetConfig:
    """By name, ``o1`` for the operation of layer 1 and ``f1`` for its FFN."""
    names = {"o": "operation", "f": "ffn"}
    return SPACE.subnet(
        {
            name if name == "depth" else f"{name[1]}.{names[name[0]]}": choice
            for name, choice in choices.items()
        }
    )


LAYER = MIXING + 80
WHOLE = EMBEDDINGS + 3 * LAYER


@pytest.mark.parametrize(
    ("trained", "new", "layers", "share"),
    [
        (design(), design(), 3, 1.0),
        # Narrower here: all of the new one is there. Wider: half of an FFN is not.
        (design(), design(f1=5), 3, 1.0),
        (design(f1=5), design(), 3, (WHOLE - 40) / WHOLE),
        # Another operation ends it: of what is behind nothing is taken.
        (design(o1="dct"), design(), 1, (EMBEDDINGS + LAYER) / WHOLE),
        (design(o0="dct", o1="dct"), design(o1="dct"), 0, EMBEDDINGS / WHOLE),
        # A layer that only one of them has.
        (design(depth=2), design(), 2, (EMBEDDINGS + 2 * LAYER) / WHOLE),
        (design(), design(depth=2), 2, 1.0),
    ],
)
def test_parameters_are_counted_from_the_first_layer_on(trained, new, layers, share):
    overlap = Overlap(SPACE, MODEL)
    one, other = overlap.extents(trained), overlap.extents(new)
    assert overlap.layers_alike(one, other) == layers
    assert overlap.share(one, other) == pytest.approx(share)


def test_a_training_begins_with_the_one_that_has_most_of_it():
    starts = Starts(SPACE, MODEL, min_overlap=0.7)
    assert starts.choose(design()) is None
    starts.tell(0, design(o0="dct"))
    assert starts.choose(design()) is None, "too little of it"
    starts.tell(1, design(f0=5, f1=5))
    starts.tell(2, design(f0=5))
    starts.tell(3, design(f1=5))
    found = starts.choose(design())
    assert found is not None
    assert (found.number, found.layers) == (2, 3), "of two with as much, the first"
    assert found.overlap == pytest.approx((WHOLE - 40) / WHOLE, abs=1e-6)


NEAREST = {"fine_tune": {"dataset_id": "t", "start": "nearest", "min_overlap": 0.5}}


@pytest.mark.parametrize("died_after", [9, 20])
def test_a_search_has_the_same_starts_whatever_comes_in_between(died_after):
    create = request(evaluation=NEAREST, budget={"evaluations": 30}, parallel_evaluations=4)
    undisturbed = begun_of(create, order=1, died_after=None)
    assert all(each.start is None or each.start.number < number for number, each in undisturbed)
    assert sum(each.start is not None for _, each in undisturbed) > 20
    assert begun_of(create, order=-1, died_after=None) == undisturbed
    assert begun_of(create, order=1, died_after=died_after) == undisturbed


def begun_of(create, *, order, died_after):
    """What is begun, the latest or the first in flight measured first, by number."""
    search = loop(create)
    begun = {each.number: each for each in search.start()}
    metrics: dict[int, dict[str, float]] = {}
    while waiting := sorted(begun.keys() - metrics.keys())[::order]:
        number = waiting[0]
        metrics[number] = accuracy(begun[number].subnet)
        begun |= {p.number: p for p in search.record(number, metrics[number]).proposals}
        if len(metrics) == died_after:
            rows = [Recorded(n, p.subnet, n in metrics, metrics.get(n)) for n, p in begun.items()]
            search = loop(create, rows)
            begun |= {p.number: p for p in search.start()}
    return [(number, replace(each)) for number, each in sorted(begun.items())]
