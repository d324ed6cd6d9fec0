"""What EFTNAS's recipe makes of a pretrained encoder, beside the original's super-network.

    OMP_NUM_THREADS=1 python -m benchmarks.eftnas MINILM TRAIN.jsonl VALIDATION.jsonl \\
        --text-column sentence --original EFTNAS_FOLDER --modes original default --processes 2

For each mode and seed a super-network is made and searched: 200 evaluations by ``nsga2``,
population 20, on all validation rows, with races and shared prefixes as a worker has them. Printed
are the accuracies of its maximal and smallest subnet, the mean accuracy of the widths in the
original's ``reference.json``, and the hypervolume of the front: the area between the front, all of
the full model's cost, and half of the rows right, in shares of both. Modes:

``original``: the original's super-network, searched alike. ``default``: first-order scores on 512
rows, from the teacher. ``parity``: movement scores on 1,600 rows, from the pretrained model. Both
have one teacher for all seeds, and learn from the original teacher's logits, if
``teacher_logits.npz`` lies in the original's folder.

Seconds are of the processor, one thread in each of ``--processes``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.labelled_rows import read_examples
from benchmarks.supernet_search import search_loop
from benchmarks.undisturbed import undisturbed
from elasticnas.api_schemas.costs import CostReport
from elasticnas.api_schemas.eftnas_training import EftnasSettings, StartFrom
from elasticnas.api_schemas.racing import Racing
from elasticnas.api_schemas.spaces import HEADS
from elasticnas.search.cost import cost_report
from elasticnas.search.loop import Proposal, SearchLoop
from elasticnas.search.pareto import hypervolume
from elasticnas.search.races.course import Course
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.elasticity.axes import axes_of, cuts_along
from elasticnas.supernet.forward.activation import ActiveSubnet, activate
from elasticnas.supernet.forward.prefixes import PrefixCache
from elasticnas.supernet.measuring.examples import TokenizedExamples
from elasticnas.supernet.measuring.measure import Lap, laps_of
from elasticnas.supernet.measuring.measure import measure as measure_subnet
from elasticnas.supernet.methods import eftnas
from elasticnas.supernet.methods.pretrained import fine_tuned, training_rows
from elasticnas.supernet.methods.step import StepRun, TrainingData
from elasticnas.supernet.plan import ModelShape
from elasticnas.supernet.supernet import Supernet, named_tensors
from elasticnas.supernet.training.distillation import Teacher, running
from elasticnas.tasks import TEXT_CLASSIFICATION
from elasticnas.tasks.rows import Rows

TEACHER_ROWS, MOVEMENT_ROWS, TRAINING_ROWS = 2560, 1600, 2048
EVALUATIONS, POPULATION = 200, 20
CHANCE = 0.5
TOKENS, PREFIX_BYTES = 2048, 2**30
ORIGINAL = "original"
MODES: dict[str, dict[str, Any]] = {
    ORIGINAL: {},
    "default": {},
    "parity": {"importance": "movement", "start": "pretrained"},
}
CPU = torch.device("cpu")


class Recipe:
    """Runs the steps of one super-network one after the other, each in a folder of its own."""

    def __init__(self, options: argparse.Namespace, mode: str, seed: int) -> None:
        self._options = options
        self._settings = EftnasSettings(
            max_length=options.max_length,
            seed=seed,
            epochs=2,
            teacher_epochs=2,
            **MODES[mode],
        )
        self._folder = Path(tempfile.mkdtemp(prefix="eftnas-"))
        self.seconds: dict[str, float] = {}

    def teacher(self) -> Path:
        """The folder that the first step leaves."""
        return self._run("teacher", self._options.model, TEACHER_ROWS)

    def run_all(self, teacher: Path) -> Supernet:
        """The super-network that all further steps lead to from a `teacher`."""
        source = self._folder / "teacher"
        parts = [eftnas.TEACHER]
        if self._settings.start is StartFrom.PRETRAINED:
            parts.append(eftnas.START)
        for part in parts:
            shutil.copytree(teacher / part, source / part)
        importance = self._run("importance", source, MOVEMENT_ROWS)
        space = self._run("space", importance, MOVEMENT_ROWS)
        return self._distilled(self._run("reorder", space, MOVEMENT_ROWS))

    def _run(self, step: str, source: Path, rows: int) -> Path:
        run = self._step(step, source, rows)
        started = time.process_time()
        getattr(eftnas, step)(run)
        self.seconds[step] = time.process_time() - started
        return run.output

    def _distilled(self, source: Path) -> Supernet:
        run = self._step("train", source, TRAINING_ROWS)
        supernet = eftnas.ordered(run)
        base = fine_tuned(source / eftnas.TEACHER, run.data)
        rows = training_rows(source / eftnas.TEACHER, run.data, self._settings, base)
        teacher = self._logits()
        if teacher is None:
            teacher = running(rows, ActiveSubnet(base.model, {}, base.family), CPU)
        started = time.process_time()
        eftnas.distil(run, supernet, rows, teacher)
        self.seconds["train"] = time.process_time() - started
        supernet.model.requires_grad_(requires_grad=False)
        return supernet

    def _logits(self) -> Teacher | None:
        """The original teacher's on the training rows, which it has in their order."""
        file = self._options.original / "teacher_logits.npz"
        if not file.exists():
            return None
        logits = torch.from_numpy(np.load(file)["train"])
        return lambda batch: logits[list(batch)]

    def _step(self, step: str, source: Path, rows: int) -> StepRun:
        output = self._folder / step
        output.mkdir()
        return undisturbed(self._settings, source, _data(self._options, rows), output)


class Measure:
    """The accuracy of subnets on the validation rows."""

    def __init__(self, supernet: Supernet, examples: TokenizedExamples) -> None:
        self.supernet = supernet
        self.examples = examples
        self._batches = examples.batches(TOKENS)
        self._labels = torch.from_numpy(examples.labels)

    def laps(self, course: Course | None) -> list[Lap]:
        """The rows in laps, with no prefix known."""
        cache = PrefixCache(PREFIX_BYTES)
        return laps_of(self.examples, course, self.supernet, token_budget=TOKENS, cache=cache)

    def subnet(self, subnet: SubnetConfig) -> float:
        """Of a subnet of the space."""
        return self._accuracy(activate(self.supernet, subnet))

    def widths(self, widths: dict[str, int]) -> float:
        """Of widths as the original writes them, which the space need not have."""
        supernet = self.supernet
        family, tensors = supernet.family, named_tensors(supernet.model, {})
        shape = ModelShape.of(family, supernet.model.config, tensors)
        size = family.head_size(supernet.model.config)
        cut: dict[str, torch.Tensor] = {}
        for number, axis in enumerate(axes_of(shape)):
            units = widths[str(number)] // (size if axis.part == HEADS else 1)
            for each in cuts_along(shape, axis):
                whole = cut.get(each.tensor, tensors[each.tensor])
                cut[each.tensor] = whole.narrow(each.axis, 0, each.unit * units)
        return self._accuracy(ActiveSubnet(supernet.model, cut, family))

    def _accuracy(self, active: ActiveSubnet) -> float:
        hits = 0
        with torch.inference_mode():
            for batch in self._batches:
                found = active.logits(batch.inputs).argmax(-1)
                hits += int((found == self._labels[batch.rows]).sum())
        return hits / len(self._labels)


def searched(measure: Measure, seed: int) -> float:
    """The hypervolume of the front that a search of the super-network finds."""
    racing = Racing()
    loop, full = begun(measure, racing, seed)
    losses = [
        [1 - accuracy, proposal.cost.gflops / full.gflops]
        for proposal, accuracy in measured(loop, measure, racing)
    ]
    return hypervolume(np.array(losses), np.array([1 - CHANCE, 1.0]))


def begun(measure: Measure, racing: Racing, seed: int) -> tuple[SearchLoop, CostReport]:
    """A search that has not measured anything yet, and what the maximal subnet costs."""
    supernet = measure.supernet
    costs, length = cost_model(supernet), supernet.reference_length
    loop = search_loop(
        supernet.space,
        costs,
        "accuracy",
        rows=len(measure.examples),
        max_length=length,
        strategy={"name": "nsga2", "population_size": POPULATION},
        seed=seed,
        budget={"evaluations": EVALUATIONS},
        racing=racing.model_dump(),
    )
    return loop, cost_report(costs, supernet.space.maximal, length)


def measured(
    loop: SearchLoop, measure: Measure, racing: Racing
) -> Iterator[tuple[Proposal, float]]:
    """Run a search; what it measured on all rows, with the accuracies."""
    supernet, examples = measure.supernet, measure.examples
    course: Course | None = None
    laps = measure.laps(course)
    waiting = deque(loop.start())
    while waiting:
        proposal = waiting.popleft()
        if course is None and (course := Course.laid_by(loop.course_hits)) is not None:
            laps = measure.laps(course)
        found = measure_subnet(
            supernet,
            proposal.subnet,
            laps,
            examples.labels,
            TEXT_CLASSIFICATION,
            racing,
            course=course,
            rival=proposal.rival,
        )
        if found.metrics is not None:
            yield proposal, found.metrics["accuracy"]
        step = loop.record(proposal.number, found.metrics, hits=found.hits, given_up=found.given_up)
        waiting.extend(step.proposals)


def run(options: argparse.Namespace, teacher: Path | None, mode: str, seed: int) -> str:
    """Make one super-network, and say what it is worth."""
    torch.set_num_threads(1)
    supernet = read_supernet(options.original).to(CPU, torch.float32)
    read = argparse.Namespace(
        data=options.validation,
        text=options.text_column,
        label="label",
        max_length=options.max_length,
        rows=None,
    )
    examples = read_examples(supernet, read)
    seconds: dict[str, float] = {}
    if mode != ORIGINAL and teacher is not None:
        recipe = Recipe(options, mode, seed)
        supernet, seconds = recipe.run_all(teacher), recipe.seconds
    measure = Measure(supernet, examples)
    reference = json.loads((options.original / "reference.json").read_text(encoding="utf-8"))
    means = np.mean([measure.widths(each["widths"]) for each in reference])
    maximal, smallest = (
        measure.subnet(subnet) for subnet in (supernet.space.maximal, supernet.space.minimal)
    )
    started = time.process_time()
    found = searched(measure, seed)
    seconds["search"] = time.process_time() - started
    told = ", ".join(f"{step} {spent:.0f}" for step, spent in seconds.items())
    return (
        f"{mode}, seed {seed}: maximal {maximal:.2%}, smallest {smallest:.2%}, reference widths "
        f"{means:.2%}, hypervolume {found:.4f}; seconds: {told}"
    )


def main() -> None:
    """Print a line for each mode and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("train", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--original", type=Path, required=True)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=[ORIGINAL, "default"])
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--max-length", type=int, default=64)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        originals = [mode for mode in options.modes if mode == ORIGINAL]
        runs = [
            pool.submit(run, options, None, *each) for each in product(originals, options.seeds)
        ]
        made = [mode for mode in options.modes if mode != ORIGINAL]
        if made:
            # Every mode that makes a super-network has this one, and parity its pretrained start.
            recipe = Recipe(options, "parity", options.seeds[0])
            teacher = recipe.teacher()
            print(f"teacher: {recipe.seconds['teacher']:.0f} seconds", flush=True)
            runs += [
                pool.submit(run, options, teacher, *each) for each in product(made, options.seeds)
            ]
        for each in runs:
            print(each.result(), flush=True)
    print(f"altogether {(time.perf_counter() - started) / 60:.1f} minutes")


def _data(options: argparse.Namespace, count: int) -> TrainingData:
    lines = options.train.read_text(encoding="utf-8").splitlines()[:count]
    rows = [json.loads(line) for line in lines]
    texts = [row[options.text_column] for row in rows]
    labels = np.array([row["label"] for row in rows])
    return TrainingData(Rows({"text": texts}, labels), TEXT_CLASSIFICATION, 2)


if __name__ == "__main__":
    main()
