"""What EFTNAS's recipe makes of a pretrained encoder, beside the original's super-network.

    python -m benchmarks.eftnas MINILM TRAIN.jsonl VALIDATION.jsonl --text-column sentence \\
        --original EFTNAS_FOLDER --mode default --seeds 42 43 44

For each seed a super-network is made and searched: 200 evaluations by ``nsga2``, population 20, on
all validation rows. Printed are the accuracies of its maximal and smallest subnet, the mean
accuracy of the widths in the original's ``reference.json``, and the hypervolume of the front: the
area between the front, all of the full model's cost, and half of the rows right, in shares of both.
The original's super-network is searched alike with ``--mode original``.

``default``: first-order scores on 512 rows, from the teacher. ``parity``: movement scores on 1,600
rows, from the pretrained model. Both learn from the original teacher's logits, if
``teacher_logits.npz`` lies in the original's folder. Seconds are of the processor, one thread.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.labelled_rows import read_examples
from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.eftnas_training import EftnasSettings
from elasticnas.api_schemas.jobs import StepProgress
from elasticnas.api_schemas.searches import SearchCreate
from elasticnas.api_schemas.spaces import HEADS
from elasticnas.search.cost import cost_report
from elasticnas.search.loop import SearchLoop
from elasticnas.search.objectives import Objectives
from elasticnas.search.pareto import hypervolume
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.elasticity.axes import axes_of, cuts_along
from elasticnas.supernet.forward.activation import ActiveSubnet, activate
from elasticnas.supernet.measuring.examples import TokenizedExamples
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
MODES: dict[str, dict[str, Any]] = {
    "default": {},
    "parity": {"importance": "movement", "start": "pretrained"},
}
CPU = torch.device("cpu")


class Recipe:
    """Runs the steps of one super-network one after the other, each in a folder of its own."""

    def __init__(self, options: argparse.Namespace, seed: int) -> None:
        self._options = options
        self._settings = EftnasSettings(
            max_length=options.max_length,
            seed=seed,
            epochs=2,
            teacher_epochs=2,
            **MODES[options.mode],
        )
        self._folder = Path(tempfile.mkdtemp(prefix="eftnas-"))
        self.seconds: dict[str, float] = {}

    def run_all(self) -> Supernet:
        """The super-network that all steps lead to."""
        teacher = self._run("teacher", self._options.model, TEACHER_ROWS)
        importance = self._run("importance", teacher, MOVEMENT_ROWS)
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

        def tell(progress: StepProgress) -> None:
            del progress

        return StepRun(
            settings=self._settings,
            source=source,
            data=_data(self._options, rows),
            output=output,
            saved=None,
            device=CPU,
            tell=tell,
            keep=lambda _, __: None,
            must_stop=lambda: False,
        )


class Measure:
    """The accuracy of subnets on the validation rows."""

    def __init__(self, supernet: Supernet, examples: TokenizedExamples) -> None:
        self._supernet = supernet
        self._batches = examples.batches(4096)
        self._labels = torch.from_numpy(examples.labels)

    def subnet(self, subnet: SubnetConfig) -> float:
        """Of a subnet of the space."""
        return self._accuracy(activate(self._supernet, subnet))

    def widths(self, widths: dict[str, int]) -> float:
        """Of widths as the original writes them, which the space need not have."""
        supernet = self._supernet
        family, tensors = supernet.family, named_tensors(supernet.model, {})
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        shape = ModelShape(family, supernet.model.config, shapes)
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


def searched(supernet: Supernet, measure: Measure, rows: int, seed: int) -> float:
    """The hypervolume of the front that a search of the super-network finds."""
    request = SearchCreate.model_validate(
        {
            "supernet_id": "benchmark",
            "dataset_id": "benchmark",
            "strategy": {"name": "nsga2", "population_size": POPULATION},
            "seed": seed,
            "budget": {"evaluations": EVALUATIONS},
        }
    )
    costs, length = cost_model(supernet), supernet.reference_length
    maximal = cost_report(costs, supernet.space.maximal, length)
    loop = SearchLoop(
        request,
        supernet.space,
        costs,
        max_length=length,
        objectives=Objectives(("accuracy", Cost.GFLOPS), maximal),
        rows=rows,
    )
    waiting, losses = deque(loop.start()), []
    while waiting:
        proposal = waiting.popleft()
        accuracy = measure.subnet(proposal.subnet)
        losses.append([1 - accuracy, proposal.cost.gflops / maximal.gflops])
        waiting.extend(loop.record(proposal.number, {"accuracy": accuracy}).proposals)
    return hypervolume(np.array(losses), np.array([1 - CHANCE, 1.0]))


def main() -> None:
    """Print a line for each seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("train", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--original", type=Path, required=True)
    parser.add_argument("--mode", choices=[*MODES, "original"], default="default")
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--max-length", type=int, default=64)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    options = parser.parse_args()
    torch.set_num_threads(1)
    reference = json.loads((options.original / "reference.json").read_text(encoding="utf-8"))
    given = read_supernet(options.original).to(CPU, torch.float32)
    read = argparse.Namespace(
        data=options.validation,
        text=options.text_column,
        label="label",
        max_length=options.max_length,
        rows=None,
    )
    examples = read_examples(given, read)
    for seed in options.seeds:
        recipe = None if options.mode == "original" else Recipe(options, seed)
        supernet = given if recipe is None else recipe.run_all()
        measure = Measure(supernet, examples)
        means = np.mean([measure.widths(each["widths"]) for each in reference])
        line = [
            f"{options.mode}, seed {seed}",
            f"maximal {measure.subnet(supernet.space.maximal):.2%}",
            f"smallest {measure.subnet(supernet.space.minimal):.2%}",
            f"reference widths {means:.2%}",
        ]
        print("; ".join(line), flush=True)
        started = time.process_time()
        found = searched(supernet, measure, len(examples), seed)
        spent = time.process_time() - started
        steps = {} if recipe is None else recipe.seconds
        told = ", ".join(f"{step} {seconds:.0f}" for step, seconds in steps.items())
        print(f"  hypervolume {found:.4f}; seconds: {told}, search {spent:.0f}", flush=True)


def _data(options: argparse.Namespace, count: int) -> TrainingData:
    lines = options.train.read_text(encoding="utf-8").splitlines()[:count]
    rows = [json.loads(line) for line in lines]
    texts = [row[options.text_column] for row in rows]
    labels = np.array([row["label"] for row in rows])
    return TrainingData(Rows({"text": texts}, labels), TEXT_CLASSIFICATION, 2)


if __name__ == "__main__":
    main()
