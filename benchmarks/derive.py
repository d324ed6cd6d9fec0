"""How well a fine-tuned model keeps up when it is cut without training, by what it is ordered by.

    python -m benchmarks.derive MODEL CALIBRATION.jsonl VALIDATION.jsonl --text-column sentence
    python -m benchmarks.derive LLAMA CALIBRATION.jsonl VALIDATION.jsonl --task perplexity ...

For each share of the full cost a table: accuracy (or, of a language model, perplexity) of the same
widths under every order, and of the widths that an order's own threshold gives; then of the model
without some blocks or halves of blocks, the least influential ones or the last. ``--widths`` takes
the widths from EFTNAS's ``space.json`` instead, one column of the first table for each target.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.undisturbed import undisturbed
from elasticnas.api_schemas.spaces import HALVES, HEADS, Half, SubnetChoices
from elasticnas.api_schemas.training import DeriveSettings, Importance, LossOn
from elasticnas.cli.datasets import RowsOptions
from elasticnas.supernet.checkpoint.base_model import BaseModel
from elasticnas.supernet.elasticity.axes import (
    Axis,
    Orders,
    Scores,
    Widths,
    axes_of,
    cuts_along,
    descending,
    fixed_macs,
    unit_macs,
)
from elasticnas.supernet.elasticity.derived_space import (
    derived_space,
    least_influential_blocks,
    least_influential_halves,
    widths_for,
)
from elasticnas.supernet.elasticity.first_order import FirstOrderScores
from elasticnas.supernet.elasticity.half_drops import HalfDrops
from elasticnas.supernet.elasticity.magnitude import magnitudes
from elasticnas.supernet.elasticity.refit import Covariances, refits_of
from elasticnas.supernet.elasticity.reorder import Reordering
from elasticnas.supernet.formats.elasticnas import elastic_part
from elasticnas.supernet.formats.space_file import SpaceFile
from elasticnas.supernet.forward.activation import ActiveSubnet, activate
from elasticnas.supernet.methods.derive import DROP_ROWS, first_order
from elasticnas.supernet.methods.pretrained import fine_tuned, training_rows
from elasticnas.supernet.methods.step import TrainingData
from elasticnas.supernet.plan import ModelShape
from elasticnas.supernet.supernet import Supernet, moved, named_tensors
from elasticnas.supernet.training.calibration import calibration_groups
from elasticnas.supernet.training.rows import LabelledRows, TrainingRows

RANDOM = 3
"""So many random orders are tried."""


@dataclass(frozen=True)
class Subject:
    """A model and its rows; ``groups`` are those of the validation rows that run together."""

    folder: Path
    base: BaseModel
    shape: ModelShape
    calibration: TrainingData
    validation: TrainingRows
    groups: Sequence[Sequence[int]]
    settings: DeriveSettings

    @property
    def tensors(self) -> Mapping[str, torch.Tensor]:
        """The model's, by the names that a plan uses."""
        return named_tensors(self.base.model, {})

    def measured(self, active: ActiveSubnet) -> float:
        """Accuracy in percent, or perplexity."""
        device = torch.device("cpu")
        hits = losses = counted = 0.0
        with torch.inference_mode():
            for group in self.groups:
                if isinstance(self.validation, LabelledRows):
                    batch = self.validation.examples.batch(group)
                    labels = torch.as_tensor(self.validation.examples.labels[list(group)])
                    hits += int((active.logits(batch.inputs).argmax(-1) == labels).sum())
                    counted += len(group)
                else:
                    tokens = sum(self.validation.lengths[row] for row in group)
                    losses += float(self.validation.loss(active, group, device)) * tokens
                    counted += tokens
        is_classifier = isinstance(self.validation, LabelledRows)
        return 100 * hits / counted if is_classifier else math.exp(losses / counted)

    def cut(
        self, order: Orders, widths: Widths, fit: Mapping[str, torch.Tensor] | None = None
    ) -> float:
        """The measure of the model whose units are in order and cut to widths.

        With covariances the layers that read them are ``fit`` to what is left.
        """
        reordering = Reordering(self.shape, order)
        cut: dict[str, torch.Tensor] = {}
        for axis in axes_of(self.shape):
            for each in cuts_along(self.shape, axis):
                whole = cut.get(each.tensor)
                if whole is None:
                    whole = reordering(each.tensor, self.tensors[each.tensor])
                cut[each.tensor] = whole.narrow(each.axis, 0, each.unit * widths[axis])
        if fit is not None:
            one = {axis: (width,) for axis, width in widths.items()}
            fitted = refits_of(self.tensors, fit, self.shape, reordering, one)
            cut |= {name: matrix for name, each in fitted.items() for matrix in each.values()}
        return self.measured(ActiveSubnet(self.base.model, cut, self.base.family))

    def covariances(self) -> dict[str, torch.Tensor]:
        """Those of the calibration rows."""
        rows = training_rows(self.folder, self.calibration, self.settings, self.base)
        groups = calibration_groups(
            rows.lengths, self.settings.calibration_rows, self.settings.seed, tokens=4096
        )
        found = Covariances(self.base.model, self.shape)
        active = ActiveSubnet(self.base.model, {}, self.base.family)
        with found.watching(), torch.inference_mode():
            for group in groups:
                rows.loss(active, group, torch.device("cpu"))
        return found.sums

    def drops(self) -> torch.Tensor:
        """How far answers to some calibration rows move without each half, (blocks, `HALVES`)."""
        rows = training_rows(self.folder, self.calibration, self.settings, self.base)
        found = HalfDrops(self.base.model, self.shape)
        for group in calibration_groups(rows.lengths, DROP_ROWS, self.settings.seed, tokens=4096):
            found.add(rows, group, torch.device("cpu"))
        return found.sums

    def without(self, blocks: Sequence[int]) -> float:
        """The measure of the model without some blocks."""
        chosen: SubnetChoices = {"blocks": tuple(sorted(blocks))}
        return self._of(derived_space(self.shape, blocks_out=list(blocks), tokens=128), chosen)

    def without_halves(self, halves: Sequence[tuple[int, Half]]) -> float:
        """The measure of the model without the attention or the FFN of some blocks."""
        space = derived_space(self.shape, halves_out=halves, tokens=128)
        return self._of(
            space, {each.name: each.choices[1] for each in space.dimensions[-len(halves) :]}
        )

    def _of(self, space: SpaceFile, chosen: SubnetChoices) -> float:
        """The measure of a subnet of a space."""
        elastic = elastic_part(space, self.shape)
        supernet = Supernet(
            method="elasticnas",
            family=self.base.family,
            model=self.base.model,
            adapters={},
            space=elastic.space,
            plan=elastic.plan,
            reference_length=128,
            folder=self.folder,
        )
        return self.measured(activate(supernet, supernet.space.subnet(chosen)))

    def scores(self, importance: Importance) -> FirstOrderScores:
        """First-order scores on the calibration rows."""
        settings = self.settings.model_copy(update={"importance": importance})
        run = undisturbed(settings, self.folder, self.calibration, self.folder)
        rows = training_rows(self.folder, self.calibration, settings, self.base)
        return first_order(run, self.base, self.shape, rows)


def subject_of(options: argparse.Namespace) -> Subject:
    """Read the model and both files of rows."""
    given = RowsOptions(
        options.text_column, options.label_column, options.task, None, None, 0, None
    )
    calibration, validation = (
        TrainingData(found.rows, found.task, max(1, found.num_labels))
        for file in (options.calibration, options.validation)
        for found in (given.read(file),)
    )
    base = fine_tuned(options.model, calibration)
    model = moved(base.model, torch.device("cpu"), torch.float32)
    base = replace(base, model=model)
    settings = DeriveSettings(
        max_length=options.max_length,
        calibration_rows=options.rows,
        seed=options.seed,
        loss_on=LossOn.TEXT,
    )
    rows = training_rows(options.model, validation, settings, base)
    groups = calibration_groups(rows.lengths, len(rows.lengths), 0, tokens=4096)
    return Subject(options.model, base, base.shape, calibration, rows, groups, settings)


def original_widths(subject: Subject, file: Path) -> dict[str, Widths]:
    """The widths of the targets in EFTNAS's ``space.json``, below the last: the full model's."""
    axes = axes_of(subject.shape)
    size = subject.base.family.head_size(subject.base.model.config)
    return {
        f"{each['target']} M": {
            axis: each["widths"][str(number)] // (size if axis.part == HEADS else 1)
            for number, axis in enumerate(axes)
        }
        for each in json.loads(file.read_text(encoding="utf-8"))["targets"][:-1]
    }


def kept(subject: Subject, scores: Scores, share: float) -> dict[Axis, int]:
    """The widths at a share of the cost, at least a unit of every axis."""
    (found,) = widths_for(
        subject.shape, subject.base.task_head, scores, [share], subject.settings.max_length
    )
    return {axis: found.widths.get(axis, 1) for axis in axes_of(subject.shape)}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("calibration", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--task", default="text-classification")
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--label-column")
    parser.add_argument("--max-length", type=int, default=64)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.8, 0.6, 0.4])
    parser.add_argument("--widths", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    subject = subject_of(options)
    units = axes_of(subject.shape)
    whole = ActiveSubnet(subject.base.model, {}, subject.base.family)
    print(f"the full model: {subject.measured(whole):.2f}")

    started = time.process_time()
    fisher = subject.scores(Importance.FISHER)
    print(f"fisher: {time.process_time() - started:.1f} s of CPU; influence of blocks:")
    print("  " + " ".join(f"{each:.3f}" for each in fisher.influence.tolist()))
    generator = torch.Generator().manual_seed(options.seed)
    orders: dict[str, Scores] = {
        "fisher": fisher.units,
        "empirical": subject.scores(Importance.EMPIRICAL).units,
        "taylor": subject.scores(Importance.TAYLOR).units,
        "magnitude": magnitudes(subject.tensors, subject.shape),
        **{
            f"random {number}": {a: torch.rand(n, generator=generator) for a, n in units.items()}
            for number in range(RANDOM)
        },
    }
    widths = (
        original_widths(subject, options.widths)
        if options.widths
        else {f"{share:.0%}": kept(subject, fisher.units, share) for share in options.shares}
    )
    each = unit_macs(subject.shape, options.max_length)
    fixed = fixed_macs(subject.shape, subject.base.task_head, options.max_length)
    costs = [fixed + sum(each[a] * w[a] for a in w) for w in (*widths.values(), units)]
    told = zip((*widths, "full"), costs, strict=True)
    print("the same widths: " + ", ".join(f"{name} {cost / 1e6:.0f} M" for name, cost in told))
    for name, scores in orders.items():
        row = [subject.cut(descending(scores), each) for each in widths.values()]
        print(f"  {name:10}" + "".join(f"{each:10.2f}" for each in row), flush=True)
    print("widths of one threshold: " + ", ".join(f"{share:.0%}" for share in options.shares))
    for name, scores in list(orders.items())[:4]:
        row = [
            subject.cut(descending(scores), kept(subject, scores, share))
            for share in options.shares
        ]
        print(f"  {name:10}" + "".join(f"{each:10.2f}" for each in row), flush=True)
    fit = subject.covariances()
    order = descending(fisher.units)
    row = [subject.cut(order, kept(subject, fisher.units, share), fit) for share in options.shares]
    print("  and refitted by least squares: " + " ".join(f"{each:.2f}" for each in row), flush=True)
    row = [subject.cut(order, each, fit) for each in widths.values()]
    print("  the widths above, refitted:    " + " ".join(f"{each:.2f}" for each in row), flush=True)
    tell_drops(subject, fisher)


def tell_drops(subject: Subject, found: FirstOrderScores) -> None:
    """Print what is left without some blocks, and without some halves of blocks."""
    blocks = subject.shape.num_layers
    by_influence = least_influential_blocks(found.influence, blocks - 1)
    last = list(range(blocks))[::-1]
    for count in range(1, 1 + max(1, blocks // 2)):
        print(
            f"without {count} blocks: least influential {by_influence[:count]} "
            f"{subject.without(by_influence[:count]):.2f}, "
            f"last {subject.without(last[:count]):.2f}",
            flush=True,
        )
    if not subject.base.family.halves:
        return
    ends: list[tuple[int, Half]] = [(block, half) for block in last for half in reversed(HALVES)]
    orders = {
        "least missed": least_influential_halves(subject.drops(), 2 * blocks - 1),
        "least influential": least_influential_halves(found.influence_of_halves, 2 * blocks - 1),
        "last": ends,
    }
    for count in range(1, 1 + max(2, 2 * blocks // 3)):
        told = (
            f"{name} ({', '.join(f'{block}.{half}' for block, half in order[:count])}) "
            f"{subject.without_halves(order[:count]):.2f}"
            for name, order in orders.items()
        )
        print(f"without {count} halves: {'; '.join(told)}", flush=True)


if __name__ == "__main__":
    main()
