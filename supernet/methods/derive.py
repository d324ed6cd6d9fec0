"""Making a super-network of a fine-tuned model without training.

What matters most comes first: heads and neurons are put into the order of their importance on a few
hundred rows, so that prefixes keep the best of them; blocks that change least may be left out. What
is saved between batches are the sums of the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from elasticnas.api_schemas.training import DeriveSettings, Importance
from elasticnas.supernet.checkpoint.base_model import BaseModel
from elasticnas.supernet.checkpoint.changed_copy import write_changed_copy
from elasticnas.supernet.elasticity.axes import Scores, descending
from elasticnas.supernet.elasticity.derived_space import (
    derived_space,
    least_influential,
    widths_for,
)
from elasticnas.supernet.elasticity.first_order import FirstOrderScores
from elasticnas.supernet.elasticity.magnitude import magnitudes
from elasticnas.supernet.elasticity.reorder import Reordering
from elasticnas.supernet.formats.elasticnas import elastic_part
from elasticnas.supernet.formats.space_file import SPACE_FILE
from elasticnas.supernet.forward.activation import ActiveSubnet
from elasticnas.supernet.methods.pretrained import fine_tuned, training_rows
from elasticnas.supernet.methods.step import StepRun
from elasticnas.supernet.plan import ModelShape
from elasticnas.supernet.supernet import moved, named_tensors
from elasticnas.supernet.training.calibration import calibration_groups
from elasticnas.supernet.training.rows import TrainingRows

SCORES_FILE = "scores.safetensors"
TOKENS = 8192
"""So many tokens at most are sent back through the model at once."""


def derive(run: StepRun) -> None:
    """Leave the model, its units in order, with a search space: a checkpoint.

    Raises:
        InputError: the model, a row or a setting cannot be used.
        StepStoppedError: the run must stop.
    """
    settings: DeriveSettings = run.settings
    base = fine_tuned(run.source, run.data)
    tensors = named_tensors(base.model, {})
    shape = ModelShape(
        base.family, base.model.config, {name: tuple(t.shape) for name, t in tensors.items()}
    )
    rows = training_rows(run.source, run.data, settings, base)
    found = first_order(run, base, shape, rows)
    scores = _chosen(settings.importance, found, base, shape)
    widths = widths_for(shape, base.task_head, scores, settings.targets, settings.max_length)
    space = derived_space(
        shape,
        widths=widths,
        shares=settings.shares,
        left_out=least_influential(found.influence, settings.dropped_blocks),
        tokens=settings.max_length,
    )
    elastic = elastic_part(space, shape)
    elastic.plan.validate(elastic.space, shape.shapes)
    (run.output / "base").mkdir()
    reordering = Reordering(shape, descending(scores))
    write_changed_copy(run.source, base.family, reordering, run.output / "base")
    text = space.model_dump_json(indent=2, exclude_defaults=True)
    (run.output / SPACE_FILE).write_text(text, encoding="utf-8")


def first_order(
    run: StepRun, base: BaseModel, shape: ModelShape, rows: TrainingRows
) -> FirstOrderScores:
    """The scores of the calibration rows, batch by batch from where the run was saved."""
    settings: DeriveSettings = run.settings
    model = moved(base.model, run.device, getattr(torch, settings.precision))
    scores = FirstOrderScores(model, shape, 1 if settings.importance is Importance.TAYLOR else 2)
    first = 0
    if run.saved is not None:
        state = load_file(run.saved / SCORES_FILE)
        first = int(state["batches"])
        scores.restore(state)
    groups = calibration_groups(
        rows.lengths,
        settings.calibration_rows,
        settings.seed,
        tokens=TOKENS,
        most=settings.batch_size,
    )
    active = ActiveSubnet(model, {}, base.family)
    for number, group in enumerate(groups[first:], first + 1):
        with scores.watching():
            for loss in _losses(run, active, rows, group, number):
                loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
        run.advance(
            number,
            len(groups),
            {"rows": sum(map(len, groups[:number]))},
            save=partial(_save, scores, number),
            save_every=settings.save_every,
        )
    return scores


def _losses(
    run: StepRun, active: ActiveSubnet, rows: TrainingRows, group: Sequence[int], number: int
) -> list[torch.Tensor]:
    """What is sent back of the rows of a group: sums over them."""
    settings: DeriveSettings = run.settings
    if settings.importance is Importance.FISHER:
        generator = torch.Generator().manual_seed(settings.seed + number)
        return rows.own_losses(active, group, run.device, generator)
    return [rows.loss(active, group, run.device) * len(group)]


def _save(scores: FirstOrderScores, batches: int, folder: Path) -> None:
    save_file({**scores.state(), "batches": torch.tensor(batches)}, folder / SCORES_FILE)


def _chosen(
    importance: Importance, found: FirstOrderScores, base: BaseModel, shape: ModelShape
) -> Scores:
    if importance is Importance.MAGNITUDE:
        return magnitudes(named_tensors(base.model, {}), shape)
    return found.units
