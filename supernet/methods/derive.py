"""Making a super-network of a fine-tuned model without training.

What matters most comes first: heads and neurons are put into the order of their importance on a few
hundred rows, so that prefixes keep the best of them; attentions, FFNs or whole blocks that matter
least may be left out. What is saved between batches are the sums of the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import Half
from elasticnas.api_schemas.training import DeriveSettings, HalvesBy, Importance
from elasticnas.supernet.checkpoint.base_model import BaseModel
from elasticnas.supernet.checkpoint.changed_copy import write_changed_copy
from elasticnas.supernet.checkpoint.refits import write_refits
from elasticnas.supernet.elasticity.axes import Axis, Scores, axes_of, descending
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
from elasticnas.supernet.families.family import Family
from elasticnas.supernet.formats.elasticnas import elastic_part
from elasticnas.supernet.formats.space_file import SPACE_FILE, SpaceFile
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
DROP_ROWS = 64
"""On about so many of the calibration rows each half of a block is tried to be left out."""


def derive(run: StepRun) -> None:
    """Leave the model, its units in order, with a search space: a checkpoint.

    Raises:
        InputError: the model, a row or a setting cannot be used.
        StepStoppedError: the run must stop.
    """
    settings: DeriveSettings = run.settings
    base = fine_tuned(run.source, run.data)
    shape = base.shape
    rows = training_rows(run.source, run.data, settings, base)
    covariances = Covariances(base.model, shape) if settings.refit else None
    tries = _may_lose_halves(settings, base.family) and settings.halves_by is HalvesBy.OUTPUT
    drops = HalfDrops(base.model, shape) if tries else None
    found = first_order(run, base, shape, rows, covariances, drops)
    scores = _chosen(settings.importance, found, base, shape)
    widths = widths_for(shape, base.task_head, scores, settings.targets, settings.max_length)
    influence = found.influence_of_halves if drops is None else drops.sums
    blocks, halves = _left_out(settings, found.influence, influence, base.family)
    space = derived_space(
        shape,
        widths=widths,
        shares=settings.shares,
        blocks_out=blocks,
        halves_out=halves,
        tokens=settings.max_length,
    )
    elastic = elastic_part(space, shape)
    elastic.plan.validate(elastic.space, shape.shapes, has_halves=bool(base.family.halves))
    (run.output / "base").mkdir()
    reordering = Reordering(shape, descending(scores))
    write_changed_copy(run.source, base.family, reordering, run.output / "base")
    if covariances is not None:
        choices = _narrower(space, shape)
        # As the files have them: the model was moved to the precision that it was run in.
        tensors = named_tensors(fine_tuned(run.source, run.data).model, {})
        write_refits(refits_of(tensors, covariances.sums, shape, reordering, choices), run.output)
    text = space.model_dump_json(indent=2, exclude_defaults=True)
    (run.output / SPACE_FILE).write_text(text, encoding="utf-8")


def first_order(
    run: StepRun,
    base: BaseModel,
    shape: ModelShape,
    rows: TrainingRows,
    covariances: Covariances | None = None,
    drops: HalfDrops | None = None,
) -> FirstOrderScores:
    """The scores of the calibration rows, batch by batch from where the run was saved.

    The same pass gives ``covariances``; between its batches halves are tried for ``drops``, on some
    rows of each.
    """
    settings: DeriveSettings = run.settings
    model = moved(base.model, run.device, getattr(torch, settings.precision))
    scores = FirstOrderScores(model, shape, 1 if settings.importance is Importance.TAYLOR else 2)
    first = 0
    if run.saved is not None:
        state = load_file(run.saved / SCORES_FILE)
        first = int(state["batches"])
        scores.restore(state)
        if covariances is not None:
            covariances.restore(state)
        if drops is not None:
            drops.sums = state["drops"]
    groups = calibration_groups(
        rows.lengths,
        settings.calibration_rows,
        settings.seed,
        tokens=TOKENS,
        most=settings.batch_size,
    )
    active = ActiveSubnet(model, {}, base.family)
    for number, group in enumerate(groups[first:], first + 1):
        with scores.watching(), nullcontext() if covariances is None else covariances.watching():
            for loss in _losses(run, active, rows, group, number):
                loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
        if drops is not None:
            some = max(1, round(len(group) * DROP_ROWS / settings.calibration_rows))
            drops.add(rows, group[:some], run.device)
        run.advance(
            number,
            len(groups),
            {"rows": sum(map(len, groups[:number]))},
            save=partial(_save, scores, covariances, drops, number),
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


def _save(
    scores: FirstOrderScores,
    covariances: Covariances | None,
    drops: HalfDrops | None,
    batches: int,
    folder: Path,
) -> None:
    state = {**scores.state(), "batches": torch.tensor(batches)}
    if drops is not None:
        state["drops"] = drops.sums
    if covariances is not None:
        state |= covariances.state()
    save_file(state, folder / SCORES_FILE)


def _narrower(space: SpaceFile, shape: ModelShape) -> dict[Axis, tuple[int, ...]]:
    """The widths of every axis below its full one."""
    choices = {each.name: each.amounts or () for each in space.dimensions}
    return {axis: choices[axis.dimension][1:] for axis in axes_of(shape)}


def _may_lose_halves(settings: DeriveSettings, family: Family) -> bool:
    """Whether halves of blocks may be left out, or else whole blocks.

    Raises:
        InputError: halves are asked for, and the family's blocks run whole only.
    """
    if settings.dropped_halves and not family.halves:
        raise InputError(
            f"blocks of {family.model_type} are run whole only",
            field="dropped_halves",
            value=settings.dropped_halves,
            remedy="leave out whole blocks, by dropped_blocks",
        )
    asks_for_blocks = settings.dropped_blocks is not None and not settings.dropped_halves
    return bool(family.halves) and not asks_for_blocks


def _left_out(
    settings: DeriveSettings, blocks: torch.Tensor, halves: torch.Tensor, family: Family
) -> tuple[list[int], list[tuple[int, Half]]]:
    """The blocks that may be left out, or the halves of blocks, by how much they matter.

    Raises:
        InputError: none would be left.
    """
    if not _may_lose_halves(settings, family):
        return least_influential_blocks(blocks, settings.dropped_blocks), []
    return [], least_influential_halves(halves, settings.dropped_halves)


def _chosen(
    importance: Importance, found: FirstOrderScores, base: BaseModel, shape: ModelShape
) -> Scores:
    if importance is Importance.MAGNITUDE:
        return magnitudes(named_tensors(base.model, {}), shape)
    return found.units
