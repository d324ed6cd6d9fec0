"""Strategies side by side: mean normalised hypervolume over evaluations, on problems with answers.

    python -m benchmarks.search --output docs/search.json --plot docs/search.png
    python -m benchmarks.search --constrained --output docs/search-constrained.json
    python -m benchmarks.search --quick

Every run is a whole search, through the very loop that the service drives, with 8 evaluations in
flight. Seed i of an analytic problem is another super-network too. Runs that the output file has
already are not repeated, so a benchmark that was broken off goes on. With ``--constrained`` the
problems are under upper bounds on costs, or their subnets share their luck, or their choices have
no order; a run is 100 evaluations.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import deque
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.problems.analytic import analytic
from benchmarks.problems.problem import Problem
from benchmarks.problems.tabular import tabular
from benchmarks.problems.unordered import unordered
from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.searches import SearchCreate
from elasticnas.search.loop import SearchLoop
from elasticnas.search.space import SubnetConfig

CHECKPOINTS = (20, 30, 50, 75, 100, 150, 200, 300, 400, 600, 800, 1000)

PROBLEMS = ("tabular", "analytic-36", "analytic-60")

CONSTRAINED = (
    "analytic-36@gflops=0.45",
    "analytic-36@gflops=0.6",
    "analytic-36@gflops=0.8",
    "analytic-24@gflops=0.6",
    "analytic-36@gflops=0.6,trainable_params=0.5",
    "shared-36@gflops=0.6",
    "shared-36",
    "unordered@gflops=0.6",
    "tabular@gflops=0.65",
)

UNDER_BOUNDS = ("pareto", "linas", "hill-climbing", "nsga2", "nsga3", "tpe", "random")
"""The strategies compared there by default: one of each, but for ``gp``, which takes hours."""

STRATEGIES: dict[str, dict[str, Any]] = {
    "pareto": {"name": "pareto"},
    "pareto, linear": {"name": "pareto", "surrogate": "bayesian_linear"},
    "pareto, Gaussian process": {"name": "pareto", "surrogate": "gaussian_process"},
    "pareto, trees": {"name": "pareto", "surrogate": "trees"},
    "linas": {"name": "linas"},
    "hill-climbing": {"name": "hill-climbing"},
    "nsga2": {"name": "nsga2", "population_size": 40},
    "nsga2, ordinal": {"name": "nsga2", "population_size": 40, "crossover": "ordinal"},
    "nsga2, layer": {"name": "nsga2", "population_size": 40, "crossover": "layer"},
    "nsga3": {"name": "nsga3", "population_size": 40},
    "tpe": {"name": "tpe"},
    "gp": {"name": "gp"},
    "random": {"name": "random"},
}

Run = dict[str, Any]
"""``problem``, ``strategy``, ``seed``, ``hypervolume`` by evaluations, ``milliseconds`` each."""


@cache
def problem_named(name: str, seed: int) -> Problem:
    """The problem of one seed: ``analytic-36``, or under bounds ``analytic-36@gflops=0.6``.

    Kinds are ``tabular``, which is the same for every seed, ``analytic`` and ``shared`` (luck),
    each followed by the number of dimensions, and ``unordered``. Bounds are shares of the maximal
    subnet's costs.
    """
    instance, _, limits = name.partition("@")
    pairs = [limit.split("=") for limit in limits.split(",") if limit]
    bounds = {Cost(cost): float(share) for cost, share in pairs}
    kind, _, dimensions = instance.partition("-")
    if kind == "tabular":
        return tabular(bounds=bounds)
    if kind == "unordered":
        return unordered(seed, bounds=bounds)
    layers = int(dimensions) // 3
    return analytic(seed, layers=layers, bounds=bounds, shared_luck=kind == "shared")


def search_loop(
    problem: Problem, settings: dict[str, Any], seed: int, evaluations: int
) -> SearchLoop:
    """A search of so many evaluations on a problem, not begun yet."""
    request = SearchCreate.model_validate(
        {
            "supernet_id": "benchmark",
            "dataset_id": "benchmark",
            "strategy": settings,
            "seed": seed,
            "budget": {"evaluations": evaluations},
            "constraints": problem.constraints,
        }
    )
    return SearchLoop(
        request,
        problem.space,
        problem.cost_model,
        max_length=problem.max_length,
        objectives=problem.objectives,
        rows=problem.rows,
    )


def run(problem: Problem, settings: dict[str, Any], seed: int, evaluations: int) -> Run:
    """One search, and the true hypervolume of what it had evaluated at each checkpoint."""
    start = time.process_time()
    loop = search_loop(problem, settings, seed, evaluations)
    waiting = deque(loop.start())
    spent = time.process_time() - start
    subnets: list[SubnetConfig] = []
    while waiting:
        proposal = waiting.popleft()
        subnets.append(proposal.subnet)
        metrics = {"accuracy": problem.measure(proposal.subnet)}
        start = time.process_time()
        waiting.extend(loop.record(proposal.number, metrics).proposals)
        spent += time.process_time() - start
    losses = problem.true_losses(subnets)
    named = problem.true_losses([subnets[number] for number in loop.archive.numbers])
    return {
        "hypervolume": {
            str(count): round(problem.normalised_hypervolume(losses[:count]), 5)
            for count in CHECKPOINTS
            if count <= len(subnets)
        },
        "front_as_measured": round(problem.normalised_hypervolume(named), 5),
        "milliseconds": round(1000 * spent / len(subnets), 2),
    }


def summary(runs: list[Run], at: tuple[int, ...] = (50, 100, 200, 400, 1000)) -> str:
    """A table in Markdown per problem: mean and standard deviation over the seeds."""
    lines = []
    at = tuple(count for count in at if any(str(count) in r["hypervolume"] for r in runs))
    for problem in dict.fromkeys(each["problem"] for each in runs):
        lines += [
            f"\n### {problem}\n",
            "| strategy | " + " | ".join(map(str, at)) + " | seeds | ms |",
        ]
        lines.append("| --- |" + " --- |" * (len(at) + 2))
        for strategy in STRATEGIES:
            own = [r for r in runs if (r["problem"], r["strategy"]) == (problem, strategy)]
            if not own:
                continue
            cells = []
            for count in at:
                values = [r["hypervolume"].get(str(count)) for r in own]
                known = [value for value in values if value is not None]
                cell = f"{np.mean(known):.3f} ± {np.std(known):.3f}" if known else ""
                cells.append(cell)
            mean_ms = np.mean([r["milliseconds"] for r in own])
            lines.append(f"| {strategy} | {' | '.join(cells)} | {len(own)} | {mean_ms:.1f} |")
    return "\n".join(lines)


def plot(runs: list[Run], path: Path) -> None:
    """Hypervolume over evaluations: mean over the seeds, one standard deviation each way."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    problems = list(dict.fromkeys(each["problem"] for each in runs))
    figure, axes = pyplot.subplots(1, len(problems), figsize=(6 * len(problems), 5), squeeze=False)
    colours = pyplot.get_cmap("tab20")
    for axis, problem in zip(axes[0], problems, strict=True):
        for index, strategy in enumerate(STRATEGIES):
            own = [r for r in runs if (r["problem"], r["strategy"]) == (problem, strategy)]
            counts = [
                c for c in CHECKPOINTS if own and all(str(c) in r["hypervolume"] for r in own)
            ]
            if not counts:
                continue
            values = np.array([[r["hypervolume"][str(c)] for c in counts] for r in own])
            mean, spread = values.mean(axis=0), values.std(axis=0)
            main = strategy in ("pareto", "nsga2")
            colour = colours(index)
            axis.plot(counts, mean, label=strategy, color=colour, linewidth=2.5 if main else 1.2)
            if main:
                axis.fill_between(counts, mean - spread, mean + spread, color=colour, alpha=0.15)
        axis.set_xscale("log")
        axis.set_xticks([20, 50, 100, 200, 400, 1000], ["20", "50", "100", "200", "400", "1000"])
        axis.set(title=problem, xlabel="evaluations", ylabel="normalised hypervolume")
        axis.grid(alpha=0.3)
    axes[0][-1].legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run what the output file lacks, then print the tables and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--constrained", action="store_true", help="other defaults, see above")
    parser.add_argument("--problems", nargs="+", help=f"default: {' '.join(PROBLEMS)}")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, help="default: all")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--evaluations", type=int, help="default: 400; nsga2 1000")
    parser.add_argument("--quick", action="store_true", help="2 seeds, 60 evaluations, no gp")
    parser.add_argument("--output", type=Path, help="JSON; what it has is not run again")
    parser.add_argument("--plot", type=Path, help="PNG or SVG")
    options = parser.parse_args()
    problems = options.problems or (CONSTRAINED if options.constrained else PROBLEMS)
    strategies = options.strategies or (UNDER_BOUNDS if options.constrained else STRATEGIES)
    evaluations = options.evaluations or (100 if options.constrained else 400)
    if options.quick:
        options.seeds, evaluations = 2, 60
        strategies = [name for name in strategies if name != "gp"]

    runs: list[Run] = []
    if options.output is not None and options.output.exists():
        runs = json.loads(options.output.read_text(encoding="utf-8"))
    have = {(r["problem"], r["strategy"], r["seed"]) for r in runs}
    for name in problems:
        for strategy in strategies:
            for seed in range(options.first_seed, options.first_seed + options.seeds):
                if (name, strategy, seed) in have:
                    continue
                whole = strategy == "nsga2" and not (options.quick or options.constrained)
                found = run(
                    problem_named(name, seed),
                    STRATEGIES[strategy],
                    seed,
                    max(evaluations, 1000) if whole else evaluations,
                )
                runs.append({"problem": name, "strategy": strategy, "seed": seed} | found)
                print(name, strategy, seed, found["hypervolume"], file=sys.stderr, flush=True)
                if options.output is not None:
                    rows = ",\n".join(json.dumps(each) for each in runs)
                    options.output.write_text(f"[\n{rows}\n]\n", encoding="utf-8")
    print(summary(runs))
    if options.plot is not None:
        plot(runs, options.plot)


if __name__ == "__main__":
    main()
