"""Training a super-network: one of its subnets at every step, one set of weights.

A subnet is trained through the very tensors that an evaluation of it uses, so there is no second
implementation of a subnet that could disagree with the first.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from transformers import PreTrainedModel

from elasticnas.api_schemas.training import OptimiserSettings, Sampling, Schedule, TrainingSettings
from elasticnas.search.space import SearchSpace, SubnetConfig
from elasticnas.supernet.checkpoint.base_model import BaseModel
from elasticnas.supernet.forward.activation import ActiveSubnet, activate
from elasticnas.supernet.methods.step import StepRun
from elasticnas.supernet.supernet import Supernet, moved, with_own_weights
from elasticnas.supernet.training import state
from elasticnas.supernet.training.rows import TrainingRows

GROUP = 16
"""Of how many batches' rows `OptimiserSettings.group_by_length` makes batches of like length."""


Learn = Callable[[int], float]
"""Computes the gradients of a step, by its number; returns its loss."""


def fit(
    run: StepRun,
    supernet: Supernet,
    rows: TrainingRows,
    trainable: dict[str, torch.Tensor],
) -> None:
    """Train the tensors ``trainable`` of a super-network, from where the run was saved.

    Batches, subnets and dropout are drawn from the seed and the step.

    Raises:
        StepStoppedError: the run must stop.
    """
    settings: TrainingSettings = run.settings

    def learn(step: int) -> float:
        active = activate(supernet, _subnet(supernet, settings, step))
        loss = rows.loss(active, batch_rows(rows.lengths, settings, step), run.device)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    supernet.model.train(settings.dropout)
    optimise(run, settings, len(rows.lengths), trainable, learn)
    supernet.model.train(False)


def fit_model(
    run: StepRun, base: BaseModel, rows: TrainingRows, settings: OptimiserSettings
) -> PreTrainedModel:
    """Train all weights of a model that is no super-network, from where the run was saved.

    Returns:
        The model, on the processor.

    Raises:
        StepStoppedError: the run must stop.
    """
    model = with_own_weights(moved(base.model, run.device, torch.float32))
    active = ActiveSubnet(model, {}, base.family)

    def learn(step: int) -> float:
        loss = rows.loss(active, batch_rows(rows.lengths, settings, step), run.device)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    model.train(settings.dropout)
    optimise(run, settings, len(rows.lengths), dict(model.named_parameters()), learn)
    return model.train(False).cpu()  # type: ignore[no-any-return]


def optimise(
    run: StepRun,
    settings: OptimiserSettings,
    rows: int,
    trainable: dict[str, torch.Tensor],
    learn: Learn,
    *,
    horizon: int | None = None,
    kept: Mapping[str, torch.Tensor] | None = None,
    rates: Callable[[str], float] = lambda _: 1.0,
) -> None:
    """Make the steps that ``settings`` ask for on so many ``rows``, from where the run was saved.

    The learning rate falls to zero at the step ``horizon``, by default the last; ``rates`` say, by
    its name, how many times that rate a tensor learns at. ``kept`` are tensors that ``learn``
    changes in place and that are no parameters: they are saved too.

    torch's random state is set before each step, so what ``learn`` draws follows from the step.

    Raises:
        StepStoppedError: the run must stop.
    """
    steps = settings.steps_on(rows)
    groups: dict[float, list[torch.Tensor]] = {}
    for name, tensor in trainable.items():
        groups.setdefault(rates(name), []).append(tensor)
    optimizer = torch.optim.AdamW(
        [{"params": tensors} for tensors in groups.values()],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
    )
    named = {**trainable, **(kept or {})}
    first = 0 if run.saved is None else state.restore(run.saved, named, optimizer)
    for step in range(first, steps):
        for rate, group in zip(groups, optimizer.param_groups, strict=True):
            fallen = _schedule(step, horizon or steps, settings)
            group["lr"] = rate * settings.learning_rate * fallen
        torch.manual_seed(seed_of(settings.seed, step))
        loss = learn(step)
        if settings.max_gradient_norm is not None:
            torch.nn.utils.clip_grad_norm_(trainable.values(), settings.max_gradient_norm)
        optimizer.step()
        optimizer.zero_grad()
        run.advance(
            step + 1,
            steps,
            {"loss": loss},
            save=lambda folder, done=step + 1: state.save(  # type: ignore[misc]
                folder, done, named, optimizer
            ),
            save_every=settings.save_every,
        )


def _subnet(supernet: Supernet, settings: TrainingSettings, step: int) -> SubnetConfig:
    """Who is trained at this step."""
    space = supernet.space
    if settings.sampling is Sampling.MAXIMAL:
        return space.maximal
    if settings.sampling is Sampling.ALTERNATE and step % 2 == 0:
        return space.maximal
    return random_subnet(space, settings.seed, step)


def random_subnet(space: SearchSpace, seed: int, step: int) -> SubnetConfig:
    """A subnet for a step, every choice drawn uniformly and independently."""
    rng = random.Random(seed_of(seed, step))
    return space.decode([rng.randrange(count) for count in space.cardinalities])


def batch_rows(lengths: Sequence[int], settings: OptimiserSettings, step: int) -> list[int]:
    """The rows of one step: consecutive pieces of a permutation that is new every epoch.

    ``lengths`` are the rows' tokens. Grouped by length, the rows of so many pieces are sorted, and
    all pieces are taken in random order: no part of an epoch has the short rows only.
    """
    epoch = _epoch(len(lengths), settings.batch_size, settings.seed, step)
    if not settings.group_by_length:
        return epoch.piece(epoch.place)
    together = GROUP * epoch.size
    order = [
        row
        for start in range(0, len(epoch.order), together)
        for row in sorted(epoch.order[start : start + together], key=lambda row: lengths[row])
    ]
    places = torch.randperm(len(order) // epoch.size, generator=epoch.generator)
    return replace(epoch, order=order).piece(int(places[epoch.place]))


def drawn_rows(count: int, size: int, seed: int, step: int) -> list[int]:
    """At most ``size`` of ``count`` rows for one step, drawn as `batch_rows` draws ungrouped."""
    epoch = _epoch(count, size, seed, step)
    return epoch.piece(epoch.place)


@dataclass(frozen=True)
class _Epoch:
    """A permutation of rows, cut into whole pieces of ``size``; a step takes that at ``place``."""

    order: list[int]
    size: int
    place: int
    generator: torch.Generator

    def piece(self, place: int) -> list[int]:
        return self.order[place * self.size : (place + 1) * self.size]


def _epoch(count: int, size: int, seed: int, step: int) -> _Epoch:
    """The epoch of a step."""
    size = min(size, count)
    per_epoch = count // size
    epoch, place = divmod(step, per_epoch)
    generator = torch.Generator().manual_seed(seed_of(seed, -1 - epoch))
    order = torch.randperm(count, generator=generator)[: per_epoch * size].tolist()
    return _Epoch(order, size, place, generator)


def _schedule(step: int, steps: int, settings: OptimiserSettings) -> float:
    """The share of the full learning rate: linear warm-up, then a decay to zero.

    Without a warm-up the linear decay begins after the first step, as it always has.
    """
    warmup = round(settings.warmup * steps)
    if settings.schedule is Schedule.LINEAR:
        warmup = max(1, warmup)
    if step < warmup:
        return (step + 1) / warmup
    left = (steps - step) / max(1, steps - warmup)
    if settings.schedule is Schedule.LINEAR:
        return left
    return (1 - math.cos(math.pi * left)) / 2


def seed_of(seed: int, step: int) -> int:
    """A seed for one step, different from those of all steps near it."""
    return random.Random(f"{seed}/{step}").getrandbits(63)
