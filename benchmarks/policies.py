"""Policies side by side on published tables of trained networks: regret, and hypervolume.

    python -m benchmarks.policies --output docs/policies.json
    python -m benchmarks.policies --tables macro --policies boshnas tpe --seeds 5

Every policy pays for the same number of distinct networks. On ``macro``, ``cora`` and ``bert`` it
maximises one metric and is told the same 10 random networks first; regret is what the best network
so far lacks to the best of the table, in points. On ``macro-front`` accuracy is set against FLOPs,
and shown is the share of the true hypervolume from (85 %, 106.72 M). Runs that the output file has
already are not repeated.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter
from scipy.stats import ttest_rel

from benchmarks.problems import tables
from benchmarks.problems.tables import Tabulated
from elasticnas.api_schemas.strategies import AnyStrategy
from elasticnas.search.activity import Indices
from elasticnas.search.blas import one_blas_thread
from elasticnas.search.pareto import hypervolume
from elasticnas.search.strategies import make_strategy
from elasticnas.search.strategies.history import generator

FIRST = 10
"""Random networks that every policy is told first; none where it begins with its own design."""
ATTEMPTS = 16
CHECKPOINTS = (20, 30, 50, 75, 100)
EVALUATIONS = {"macro": 100, "cora": 100, "bert": 50, "macro-front": 100}
TOP = 13
"""The best twentieth of the 246 distinct models of ``bert``."""

POLICIES: dict[str, dict[str, Any]] = {
    "boshnas": {"name": "boshnas"},
    "boshnas, published": {"name": "boshnas", "form": "published"},
    "boshnas, published proposal": {"name": "boshnas", "proposal": "published"},
    "boshnas, choices": {"name": "boshnas", "embedding": "choices"},
    "boshnas, transformer2vec": {"name": "boshnas", "embedding": "transformer2vec"},
    "boshnas, no second order": {"name": "boshnas", "second_order": False},
    "boshnas, no NPN": {"name": "boshnas", "heteroscedastic": False},
    "boshnas, no student": {"name": "boshnas", "student": False},
    "pareto": {"name": "pareto"},
    "nsga2": {"name": "nsga2", "population_size": 20},
    "tpe": {"name": "tpe", "n_startup_trials": 10},
    "random": {"name": "random"},
}
FIXED_SUM = "fixed sum"
"""The networks with the best sum of both losses of equal weights, as if all were known: what a
policy over that weighting finds at best."""

DEFAULT = {
    "macro": ("boshnas", "tpe", "nsga2", "random"),
    "cora": ("boshnas", "random"),
    "bert": ("boshnas", "boshnas, choices", "boshnas, published", "random"),
    "macro-front": ("boshnas", "pareto", "nsga2", "tpe", "random", FIXED_SUM),
}
OWN_DESIGN = ("pareto",)
"""Policies that are measured as users get them, from their own first design."""

Run = dict[str, Any]


@cache
def table(name: str) -> Tabulated:
    """The problem of this name."""
    if name == "cora":
        return tables.cora()
    if name == "bert":
        return tables.bert()
    return tables.macro(costs=name == "macro-front")


def search(
    found: Tabulated, settings: dict[str, Any], seed: int, evaluations: int, first: int
) -> tuple[Indices, float]:
    """The networks that a policy pays for, in order, and its processor seconds a proposal."""
    problem = found.problem
    wanted = TypeAdapter(AnyStrategy).validate_python(settings)
    strategy = make_strategy(wanted, problem, seed=seed)
    paid: list[tuple[int, ...]] = []
    spent = 0.0
    for number in range(evaluations):
        rng = generator(seed, number, "policies")
        proposal = None
        for attempt in range(ATTEMPTS if number >= first else 0):
            start = time.process_time()
            asked = strategy.ask(number, attempt)
            spent += time.process_time() - start
            assert asked is not None
            code = problem.repair(np.array([problem.space.encode(asked)]), rng)
            proposal = tuple(code[0].tolist())
            if proposal not in paid:
                break
        while proposal is None or proposal in paid:
            drawn = np.floor(rng.random(len(problem.choices.counts)) * problem.choices.counts)
            proposal = tuple(problem.repair(drawn.astype(np.intp)[None], rng)[0].tolist())
        paid.append(proposal)
        strategy.begin(number, problem.space.decode(proposal))
        strategy.tell(number, losses(found, np.array([proposal]))[0], failed=False)
    return np.array(paid), spent / max(evaluations - first, 1)


def losses(found: Tabulated, networks: Indices) -> NDArray[np.float64]:
    """The losses (n, m) of networks, as a search has them."""
    from elasticnas.tasks.metric import METRICS

    metric = METRICS[found.problem.objectives.metrics[0]]
    measured = [metric.loss(value / 100) for value in found.value(networks)]
    return np.column_stack([measured, found.problem.cost_losses(networks)])


def run(name: str, policy: str, seed: int) -> Run:
    """One search: its regret, or its share of the true hypervolume, at each checkpoint."""
    found, evaluations = table(name), EVALUATIONS[name]
    if policy == FIXED_SUM:
        paid, spent = fixed_sum(found, evaluations), 0.0
    else:
        first = 0 if policy in OWN_DESIGN else FIRST
        with one_blas_thread():
            paid, spent = search(found, POLICIES[policy], seed, evaluations, first)
    assert len(np.unique(paid, axis=0)) == evaluations
    points = [count for count in CHECKPOINTS if count <= evaluations]
    result: Run = {"seconds": round(spent, 4)}
    if name == "macro-front":
        told, whole = losses(found, paid), true_hypervolume()
        result["share"] = {
            str(c): round(hypervolume(told[:c], np.ones(2)) / whole, 5) for c in points
        }
    else:
        told = found.value(paid)
        result["regret"] = {str(c): round(found.best - told[:c].max(), 5) for c in points}
    if name == "bert":
        assert isinstance(found.problem, tables.Pool)
        bar = np.sort(found.value(found.problem.members))[-TOP]
        result["top"] = int(np.sum(told >= bar))
    return result


@cache
def true_hypervolume() -> float:
    """Of all networks of ``macro-front``."""
    return hypervolume(losses(table("macro-front"), everything()), np.ones(2))


def everything() -> Indices:
    """All networks of NAS-Bench-Macro."""
    return np.array(list(itertools.product(range(3), repeat=8)))


def fixed_sum(found: Tabulated, evaluations: int) -> Indices:
    """The networks with the best weighted sum of both losses, as if all were known."""
    every = everything()
    both = losses(found, every)
    return every[np.argsort(both.sum(axis=1), kind="stable")[:evaluations]]


def summary(runs: list[Run]) -> str:
    """A table in Markdown per problem: means, standard errors, and paired tests."""
    lines: list[str] = []
    for name in dict.fromkeys(r["table"] for r in runs):
        kind = "share" if name == "macro-front" else "regret"
        points = [str(c) for c in CHECKPOINTS if c <= EVALUATIONS[name]]
        title = "share of the true hypervolume" if kind == "share" else "regret, points"
        top = " top 13 found |" if name == "bert" else ""
        lines += ["", f"### {name}: {title}", ""]
        lines.append(f"| policy | {' | '.join(points)} |{top} seeds | s |")
        lines.append("| --- |" + " --- |" * (len(points) + 2 + bool(top)))
        for policy in dict.fromkeys(r["policy"] for r in runs if r["table"] == name):
            own = [r for r in runs if (r["table"], r["policy"]) == (name, policy)]
            cells = []
            for point in points:
                values = [r[kind][point] for r in own]
                error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
                cells.append(f"{np.mean(values):.3f} ± {error:.3f}")
            if top:
                cells.append(f"{np.mean([r['top'] for r in own]):.1f}")
            seconds = np.mean([r["seconds"] for r in own])
            lines.append(f"| {policy} | {' | '.join(cells)} | {len(own)} | {seconds:.2f} |")
        lines += paired(runs, name, kind)
    return "\n".join(lines)


def paired(runs: list[Run], name: str, kind: str) -> list[str]:
    """That ``boshnas`` is better than the others: one-sided t-tests, paired by seed."""
    by_policy: dict[str, dict[int, Run]] = {}
    for each in runs:
        if each["table"] == name:
            by_policy.setdefault(each["policy"], {})[each["seed"]] = each
    ours, lines = by_policy.pop("boshnas", {}), [""]
    for policy, theirs in by_policy.items():
        seeds = sorted(ours.keys() & theirs.keys())
        if len(seeds) < 3 or policy == FIXED_SUM:
            continue
        tests = []
        for point in [str(c) for c in CHECKPOINTS if 50 <= c <= EVALUATIONS[name]]:
            pair = [[each[s][kind][point] for s in seeds] for each in (ours, theirs)]
            better = "less" if kind == "regret" else "greater"
            tests.append(f"{point}: {ttest_rel(*pair, alternative=better).pvalue:.2g}")
        lines.append(f"- better than {policy}, p at {', '.join(tests)}")
    return lines


def main() -> None:
    """Run what the output file lacks, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", choices=EVALUATIONS, default=list(EVALUATIONS))
    parser.add_argument("--policies", nargs="+", choices=[*POLICIES, FIXED_SUM])
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON; what it has is not run again")
    options = parser.parse_args()
    runs: list[Run] = []
    if options.output is not None and options.output.exists():
        runs = json.loads(options.output.read_text(encoding="utf-8"))
    have = {(r["table"], r["policy"], r["seed"]) for r in runs}
    for name in options.tables:
        for policy in options.policies or DEFAULT[name]:
            for seed in range(options.first_seed, options.first_seed + options.seeds):
                if (name, policy, seed) in have or (policy == FIXED_SUM and seed):
                    continue
                runs.append(
                    {"table": name, "policy": policy, "seed": seed} | run(name, policy, seed)
                )
                print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
                if options.output is not None:
                    rows = ",\n".join(json.dumps(each) for each in runs)
                    options.output.write_text(f"[\n{rows}\n]\n", encoding="utf-8")
    print(summary(runs))


if __name__ == "__main__":
    main()
