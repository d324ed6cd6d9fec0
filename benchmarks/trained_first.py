"""Searches that train each subnet first: whether it pays to begin with the nearest, or to halve.

    python -m benchmarks.trained_first SUPERNET TRAIN.jsonl VALIDATION.jsonl --text-column sentence
        [--minutes 4] [--steps 45] [--seeds 0 1] [--ways plain nearest halving]

Every way is the same search by accuracy and GFLOPs, given the same processor time for its
strategy, its trainings and its measurements on every second validation row. The other rows say
what its front is worth: their time is not counted, and no search sees them.

Of a way it prints how many subnets were trained to the end, and the front's hypervolume on either
half of the rows, of what was known after each quarter of the time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.flexibert import TOKENS, Measure, Subject, drawn, read, subject_of
from benchmarks.supernet_search import search_loop
from elasticnas.api_schemas.finetuning import FinetuneSettings
from elasticnas.api_schemas.halving import Halving
from elasticnas.search.cost import cost_report
from elasticnas.search.loop import Proposal, SearchLoop
from elasticnas.search.objectives import Objectives
from elasticnas.search.pareto import ParetoArchive
from elasticnas.supernet.methods.finetune import rows_to_learn
from elasticnas.supernet.methods.step import TrainingData
from elasticnas.supernet.methods.trained_first import Start, TrainedFirst, TrainingFiles
from elasticnas.tasks import TEXT_CLASSIFICATION

HALVING = Halving(eta=3, rungs=3)
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "nearest": {"start": "nearest"},
    "halving": {"halving": HALVING.model_dump()},
    "both": {"start": "nearest", "halving": HALVING.model_dump()},
}
"""What each says beside the training itself; all else is as it is by default."""
ENDLESS = 100_000
"""Evaluations that no search comes to in its time."""
QUARTERS = 4


@dataclass(frozen=True)
class Completed:
    """A subnet that was trained to the end, after so many processor ``seconds`` of its search."""

    proposal: Proposal
    seconds: float
    searched: float
    """Its accuracy on the rows of the search."""
    verified: float
    """Its accuracy on the others."""


@dataclass
class Search:
    """One search, whose trainings begin and end as the worker's do."""

    subject: Subject
    training: TrainedFirst
    loop: SearchLoop
    folder: Path
    whole: int
    """The steps of a training."""
    keeps: bool
    """Whether others may begin with what one has learnt."""
    halves: bool
    seconds: float = 0.0
    completed: list[Completed] = field(default_factory=list)
    begun: int = 0
    """How many began with another's weights."""
    _subnets: dict[int, Proposal] = field(default_factory=dict)

    def run(self, limit: float) -> None:
        """Go on until so many processor seconds are spent."""
        waiting = deque((each, 0) for each in self.loop.start())
        while waiting and self.seconds < limit:
            began = time.process_time()
            proposal, rung = waiting.popleft()
            self._subnets[proposal.number] = proposal
            supernet = self.training.subnet(
                proposal.subnet, files=self._files(proposal, rung, self._until(proposal, rung))
            )
            alone = Subject(supernet, self.subject.examples)
            count = len(self.subject.examples.token_ids)
            accuracy = alone.on(range(0, count, 2)).accuracy(proposal.subnet)
            if self._until(proposal, rung) is not None:
                step = self.loop.reach(proposal.number, {"accuracy": accuracy})
            else:
                step = self.loop.record(proposal.number, {"accuracy": accuracy})
            waiting.extend((each, 0) for each in step.proposals)
            moves = self.loop.take_moves()
            waiting.extendleft((self._subnets[n], rung + 1) for n in reversed(moves.promoted))
            self.seconds += time.process_time() - began
            if self._until(proposal, rung) is None:
                others = Measure(supernet, self.subject.examples, range(1, count, 2))
                verified = others.accuracy(proposal.subnet)
                self.completed.append(Completed(proposal, self.seconds, accuracy, verified))

    @property
    def tried(self) -> int:
        """How many subnets a training was begun for."""
        return len(self._subnets)

    def _until(self, proposal: Proposal, rung: int) -> int | None:
        """After how many steps a training is left off; None: not before its end."""
        if not self.halves or proposal.bracket is None or rung == HALVING.last:
            return None
        return HALVING.steps(rung, self.whole)

    def _files(self, proposal: Proposal, rung: int, until: int | None) -> TrainingFiles:
        start, state = None, None
        if proposal.start is not None and rung == 0:
            of = self._subnets[proposal.start.number]
            tensors = self.folder / f"{of.number}.safetensors"
            start = Start(tensors, dict(of.subnet), proposal.start.layers)
            self.begun += 1
        if until is not None:
            (state := self.folder / f"{proposal.number}-{rung}").mkdir()
        return TrainingFiles(
            start=start,
            kept=self.folder / f"{proposal.number}.safetensors"
            if self.keeps and until is None
            else None,
            resumed=self.folder / f"{proposal.number}-{rung - 1}" if rung else None,
            until=until,
            state=state,
        )


def front_of(completed: Sequence[Completed], objectives: Objectives) -> tuple[float, float]:
    """The hypervolume of a front on the rows of the search, and on the others."""
    archive = ParetoArchive(objectives.reference)
    verified = ParetoArchive(objectives.reference)
    for each in completed:
        costs = each.proposal.cost.values()
        archive.add(each.proposal.number, objectives.losses({"accuracy": each.searched}, costs))
    on_front = set(archive.numbers)
    for each in completed:
        if each.proposal.number in on_front:
            costs = each.proposal.cost.values()
            losses = objectives.losses({"accuracy": each.verified}, costs)
            verified.add(each.proposal.number, losses)
    return archive.hypervolume, verified.hypervolume


def search(
    subject: Subject,
    training: TrainedFirst,
    way: str,
    folder: Path,
    *,
    seed: int,
    evaluations: int = ENDLESS,
) -> Search:
    """A search of one way that has not begun, and leaves in a folder what others begin with."""
    more = WAYS[way]
    settings = training.settings.model_dump(mode="json")
    loop = search_loop(
        subject.supernet.space,
        subject.model,
        "accuracy",
        rows=len(subject.examples.token_ids[::2]),
        max_length=TOKENS,
        budget={"evaluations": evaluations},
        seed=seed,
        evaluation={"fine_tune": {**settings, "dataset_id": "rows", **more}},
    )
    steps = training.settings.steps_on(len(training.rows.lengths))
    return Search(subject, training, loop, folder, steps, "start" in more, "halving" in more)


def trainings(subject: Subject, options: argparse.Namespace) -> TrainedFirst:
    """What trains subnets on some of the training rows."""
    texts, labels = read(options.train, options.text_column, options.label_column)
    rows = drawn(texts, labels, options.rows)
    settings = FinetuneSettings(
        steps=options.steps, batch_size=options.batch_size, max_length=TOKENS
    )
    data = TrainingData(rows, TEXT_CLASSIFICATION, subject.supernet.num_labels)
    learnt = rows_to_learn(subject.supernet, data, settings)
    return TrainedFirst(subject.supernet, settings, data, learnt, torch.device("cpu"))


def show(way: str, seed: int, found: Search, limit: float, objectives: Objectives) -> None:
    """Print what a search came to."""
    quarters = [
        front_of([c for c in found.completed if c.seconds <= limit * q / QUARTERS], objectives)
        for q in range(1, 1 + QUARTERS)
    ]
    curve = "  ".join(f"{searched:.4f} {verified:.4f}" for searched, verified in quarters)
    started = f", {found.begun} with another's weights" if found.keeps else ""
    print(
        f"{way:<8} seed {seed}: {found.tried} begun{started}, {len(found.completed)} trained to "
        f"the end in {found.seconds:.0f} s; hypervolume (search, verify): {curve}",
        flush=True,
    )


def main() -> None:
    """Run every way with every seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("supernet", type=Path)
    parser.add_argument("train", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--rows", type=int, default=12_000, help="to train on")
    parser.add_argument("--steps", type=int, default=45, help="of a training")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=4.0, help="of the processor, for a search")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS)[:3])
    options = parser.parse_args()
    subject = subject_of(
        options.supernet, options.validation, options.text_column, options.label_column
    )
    training = trainings(subject, options)
    maximal = cost_report(subject.model, subject.supernet.space.maximal, TOKENS)
    objectives = Objectives(("accuracy", "gflops"), maximal)
    limit = 60 * options.minutes
    for seed in options.seeds:
        for way in options.ways:
            with tempfile.TemporaryDirectory() as folder:
                found = search(subject, training, way, Path(folder), seed=seed)
                found.run(limit)
            show(way, seed, found, limit, objectives)


if __name__ == "__main__":
    main()
