"""Published tables of trained networks, as search problems whose answers are all known.

- ``macro``: NAS-Bench-Macro (Su et al. 2021), 6,561 convolutional networks on CIFAR-10, complete;
- ``cora``: NAS-Bench-Graph (Qin et al. 2022), 59,040 codes of 26,206 graph networks, complete;
- ``bert``: NAS-Bench-BERT (Serianni & Kalita 2023), a sample of FlexiBERT's space with GLUE scores:
  a pool from which alone may be chosen.

All three are read from files that are not part of this repository; see `FOLDER`.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.costs import Axis, Cost, CostModel, Table
from elasticnas.api_schemas.spaces import (
    BLOCKS,
    FFN,
    FFN_LAYERS,
    HEADS,
    HIDDEN,
    OPERATION,
    Condition,
    Dimension,
)
from elasticnas.search.activity import Indices
from elasticnas.search.cost import cost_report
from elasticnas.search.cost_terms import Extent, cost_model, linear, parameters
from elasticnas.search.objectives import Objectives
from elasticnas.search.problem import SearchProblem
from elasticnas.search.space import SearchSpace
from elasticnas.tasks.metric import METRICS, Metric

FOLDER = Path(
    os.environ.get("ELASTICNAS_TABLES")
    or Path(__file__).parents[2].parent / "shared" / "data" / "tabular"
)
"""Where ``nas-bench-macro/cifar10.csv`` and the others lie."""

Values = NDArray[np.float64]

OVER_85 = METRICS.register(
    "accuracy_over_85",
    Metric(
        "accuracy_over_85",
        ideal=1.0,
        worst=0.85,
        standard_error=lambda values, rows: np.sqrt(np.clip(values * (1 - values), 0, 1) / rows),
    ),
)
"""Accuracy, whose hypervolume is counted from 85 % as in the published comparison on Macro."""


@dataclass(frozen=True)
class Tabulated:
    """A search problem, and the table that answers it.

    ``value`` gives the true metric, in percent, of subnets (n, dimensions): shape (n,).
    """

    problem: SearchProblem
    value: Callable[[Indices], Values]
    best: float


class Canonical(SearchProblem):
    """A problem in which several codes stand for one network, of which one is proposed.

    ``of`` maps a code's flat position to that of its network; -1 where no such network exists.
    """

    def __init__(self, *problem: Any, of: NDArray[np.intp]) -> None:
        super().__init__(*problem)
        self._of = of

    def canonical(self, indices: Indices) -> Indices:
        """See `SearchProblem.canonical`."""
        counts = self.space.cardinalities
        flat = self._of[np.ravel_multi_index(tuple(indices.T), counts)]
        known = np.stack(np.unravel_index(np.maximum(flat, 0), counts), axis=1)
        return np.where(flat[:, None] >= 0, known, indices)

    def repair(self, indices: Indices, rng: np.random.Generator) -> Indices:
        """See `SearchProblem.repair`: a code of nothing becomes a random one."""
        repaired = indices.copy()
        counts = np.array(self.space.cardinalities)
        while (broken := self._is_nothing(repaired)).any():
            shape = (int(broken.sum()), len(counts))
            repaired[broken] = np.floor(rng.random(shape) * counts).astype(np.intp)
        return self.canonical(repaired)

    def _is_nothing(self, indices: Indices) -> NDArray[np.bool_]:
        flat = np.ravel_multi_index(tuple(indices.T), self.space.cardinalities)
        return np.asarray(self._of[flat] < 0)


class Pool(SearchProblem):
    """A problem whose only feasible subnets are ``members`` (n, dimensions)."""

    def __init__(self, *problem: Any, members: Indices) -> None:
        super().__init__(*problem)
        self.members = members

    def repair(self, indices: Indices, rng: np.random.Generator) -> Indices:
        """See `SearchProblem.repair`: the member that differs in the fewest dimensions."""
        apart = (self.canonical(indices)[:, None, :] != self.members[None, :, :]).sum(axis=2)
        nearest: Indices = self.members[np.argmin(apart + 0.5 * rng.random(apart.shape), axis=1)]
        return nearest


@cache
def macro(*, costs: bool = False) -> Tabulated:
    """NAS-Bench-Macro: the mean accuracy of three trainings; with ``costs`` against the FLOPs."""
    rows = _rows("nas-bench-macro/cifar10.csv")
    operations = ("mb5-6", "mb3-3", "identity")  # the costliest first
    space = SearchSpace(
        tuple(
            Dimension(
                name=f"layer.{layer}.operation",
                part=OPERATION,
                layer=layer,
                choices=operations,
                ordered=False,
            )
            for layer in range(8)
        )
    )
    codes = np.array([[2 - int(digit) for digit in row["arch"]] for row in rows])
    flat = np.ravel_multi_index(tuple(codes.T), space.cardinalities)
    accuracy = np.empty(len(rows))
    accuracy[flat] = [np.mean([float(row[f"acc_{i}"]) for i in range(3)]) for row in rows]
    flops = np.empty(len(rows))
    flops[flat] = [float(row["flops"]) for row in rows]
    model = _additive(space, flops)
    maximal = cost_report(model, space.maximal, 1)
    names = (OVER_85.name, Cost.GFLOPS) if costs else ("accuracy",)
    references = {"gflops": maximal.gflops * 106.72e6 / flops.max()} if costs else None
    problem = SearchProblem(space, model, 1, Objectives(names, maximal, references), (), 10_000)
    return Tabulated(problem, _lookup(space, accuracy), float(accuracy.max()))


@cache
def macro_trainings() -> Values:
    """The three accuracies of every network of `macro`, in percent: shape (6561, 3)."""
    rows = _rows("nas-bench-macro/cifar10.csv")
    codes = np.array([[2 - int(digit) for digit in row["arch"]] for row in rows])
    found = np.empty((len(rows), 3))
    flat = np.ravel_multi_index(tuple(codes.T), (3,) * 8)
    found[flat] = [[float(row[f"acc_{i}"]) for i in range(3)] for row in rows]
    return found


@cache
def cora() -> Tabulated:
    """NAS-Bench-Graph on Cora: validation accuracy. Two codes of one network are one subnet."""
    rows = _rows("nas-bench-graph/cora.csv")
    names = ("topology", "node.0", "node.1", "node.2", "node.3")
    space = SearchSpace(
        tuple(
            Dimension(name=name, part=OPERATION, choices=tuple(range(9, 0, -1)), ordered=False)
            for name in names
        )
    )
    size = int(np.prod(space.cardinalities))
    accuracy, of = np.full(size, np.nan), np.full(size, -1, dtype=np.intp)
    for row in rows:
        here = _flat(row["arch"])
        accuracy[here], of[here] = 100 * float(row["valid_acc"]), _flat(row["canonical"])
    model = cost_model([parameters(1)])
    objectives = Objectives(("accuracy",), cost_report(model, space.maximal, 1))
    problem = Canonical(space, model, 1, objectives, (), None, of=of)
    return Tabulated(problem, _lookup(space, accuracy), float(np.nanmax(accuracy)))


@cache
def bert() -> Tabulated:
    """NAS-Bench-BERT as a pool: the GLUE score. A model drawn twice has its mean."""
    rows = [
        json.loads(line)
        for line in (FOLDER / "nas-bench-bert" / "glue.jsonl").read_text("utf-8").splitlines()
    ]
    space = flexibert_space()
    scores: dict[tuple[int, ...], list[float]] = {}
    for row in rows:
        code = space.encode(space.subnet(flexibert_choices(row["model"])))
        scores.setdefault(code, []).append(row["scores"]["glue"])
    members = np.array(list(scores), dtype=np.intp)
    glue = {key: float(np.mean(each)) for key, each in scores.items()}
    model = cost_model([parameters(1)])
    objectives = Objectives(("accuracy",), cost_report(model, space.maximal, 1))
    problem = Pool(space, model, 1, objectives, (), None, members=members)

    def value(indices: Indices) -> Values:
        return np.array([glue[tuple(row)] for row in indices.tolist()])

    return Tabulated(problem, value, max(glue.values()))


OPERATIONS = ("sa-sdp", "sa-wma", "c-9", "c-5", "l-dft", "l-dct")


def flexibert_space() -> SearchSpace:
    """FlexiBERT's space with one hidden size, as NAS-Bench-BERT drew from it: 18 dimensions."""
    dimensions = [
        Dimension(name="depth", part=BLOCKS, choices=(4, 2)),
        Dimension(name="hidden", part=HIDDEN, choices=(256, 128)),
    ]
    for layer in range(4):
        kept = (Condition(dimension="depth", choices=(4,)),) if layer >= 2 else ()
        dimensions += [
            Dimension(
                name=f"layer.{layer}.operation",
                part=OPERATION,
                layer=layer,
                choices=OPERATIONS,
                ordered=False,
                active_when=kept,
            ),
            *(
                Dimension(
                    name=f"layer.{layer}.{name}",
                    part=part,
                    layer=layer,
                    choices=choices,
                    active_when=kept,
                )
                for name, part, choices in (
                    ("heads", HEADS, (4, 2)),
                    ("ffn.layers", FFN_LAYERS, (3, 1)),
                    ("ffn.width", FFN, (1024, 512)),
                )
            ),
        ]
    return SearchSpace(tuple(dimensions))


def flexibert_choices(model: dict[str, Any]) -> dict[str, Any]:
    """A published model's lists as choices of `flexibert_space`."""
    choices: dict[str, Any] = {"depth": model["l"], "hidden": model["h"]}
    for layer in range(model["l"]):
        stack = model["f"][layer]
        choices |= {
            f"layer.{layer}.operation": f"{model['o'][layer]}-{model['p'][layer]}",
            f"layer.{layer}.heads": model["n"][layer],
            f"layer.{layer}.ffn.layers": len(stack),
            f"layer.{layer}.ffn.width": stack[0],
        }
    return choices


def _rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _flat(code: str) -> int:
    """The position of a graph network's code."""
    return int(np.ravel_multi_index([int(digit) for digit in code], (9,) * 5))


def _lookup(space: SearchSpace, values: Values) -> Callable[[Indices], Values]:
    def value(indices: Indices) -> Values:
        found: Values = values[np.ravel_multi_index(tuple(indices.T), space.cardinalities)]
        return found

    return value


def _additive(space: SearchSpace, flops: Values) -> CostModel:
    """The cost model of multiply-accumulates that add up over the dimensions' choices."""
    counts = space.cardinalities
    last = tuple(count - 1 for count in counts)
    least = int(flops[np.ravel_multi_index(last, counts)])
    terms = linear(Extent(full=least), Extent(full=1))
    for position, dimension in enumerate(space.dimensions):
        more = []
        for choice in range(counts[position]):
            code: Sequence[int] = (*last[:position], choice, *last[position + 1 :])
            more.append(int(flops[np.ravel_multi_index(code, counts)]) - least)
        axis = Axis(dimension=dimension.name, choices=dimension.choices)
        length = Extent(full=0, lengths=Table(axes=(axis,), values=tuple(more)))
        terms += linear(length, Extent(full=1))
    return cost_model(terms)
