"""Training a super-network: one of its subnets at every step, one set of weights.

A subnet is trained through the very tensors that an evaluation of it uses: slices with the adapter
merged, so there is no second implementation of a subnet that could disagree with the first.
"""

from __future__ import annotations

import random

import torch
from torch.nn import functional

from elasticnas.api_schemas.training import Sampling, TrainingSettings
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.measuring.examples import TokenizedExamples
from elasticnas.supernet.methods.step import StepRun
from elasticnas.supernet.supernet import Supernet
from elasticnas.supernet.training import state
from elasticnas.tasks import TEXT_REGRESSION, Task

GROUP = 16
"""Of how many batches' rows `TrainingSettings.group_by_length` makes batches of like length."""


def fit(
    run: StepRun,
    supernet: Supernet,
    examples: TokenizedExamples,
    trainable: dict[str, torch.Tensor],
) -> None:
    """Train the tensors ``trainable`` of a super-network, from where the run was saved.

    Batches, subnets and dropout are drawn from the seed and the step.

    Raises:
        InputError: the run was begun with other settings.
        StepStoppedError: the run must stop.
    """
    settings: TrainingSettings = run.settings
    steps = settings.steps_on(len(examples))
    optimizer = torch.optim.AdamW(
        trainable.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    first = 0 if run.saved is None else state.restore(run.saved, settings, trainable, optimizer)
    supernet.model.train(settings.dropout)
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _schedule(step, steps, settings.warmup)
        loss = _step(supernet, examples, settings, step, run.data.task, run.device)
        optimizer.step()
        optimizer.zero_grad()
        run.advance(
            step + 1,
            steps,
            {"loss": loss},
            save=lambda folder, done=step + 1: state.save(  # type: ignore[misc]
                folder, settings, done, trainable, optimizer
            ),
            save_every=settings.save_every,
        )
    supernet.model.train(False)


def _step(
    supernet: Supernet,
    examples: TokenizedExamples,
    settings: TrainingSettings,
    step: int,
    task: Task,
    device: torch.device,
) -> float:
    """Compute the gradients of one step; returns its mean loss."""
    torch.manual_seed(_seed(settings.seed, step))
    rows = batch_rows(examples, settings, step)
    batch = examples.batch(rows).to(device)
    labels = torch.from_numpy(examples.labels[rows]).to(device)
    logits = activate(supernet, _subnet(supernet, settings, step)).logits(batch.inputs)
    loss = _loss(logits, labels, task)
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def _loss(logits: torch.Tensor, labels: torch.Tensor, task: Task) -> torch.Tensor:
    """Squared error or cross-entropy of ``logits`` (rows, outputs) against labels (rows)."""
    if task is TEXT_REGRESSION:
        return functional.mse_loss(logits.squeeze(-1), labels.to(logits.dtype))
    return functional.cross_entropy(logits, labels)


def _subnet(supernet: Supernet, settings: TrainingSettings, step: int) -> SubnetConfig:
    """Who is trained at this step."""
    space = supernet.space
    if settings.sampling is Sampling.ALTERNATE and step % 2 == 0:
        return space.maximal
    rng = random.Random(_seed(settings.seed, step))
    return space.decode([rng.randrange(count) for count in space.cardinalities])


def batch_rows(examples: TokenizedExamples, settings: TrainingSettings, step: int) -> list[int]:
    """The rows of one step: consecutive pieces of a permutation that is new every epoch.

    Grouped by length, the rows of so many pieces are sorted, and all pieces are taken in random
    order: no part of an epoch has the short rows only.
    """
    count = len(examples)
    size = min(settings.batch_size, count)
    per_epoch = count // size
    epoch, place = divmod(step, per_epoch)
    generator = torch.Generator().manual_seed(_seed(settings.seed, -1 - epoch))
    order = torch.randperm(count, generator=generator)[: per_epoch * size].tolist()
    if settings.group_by_length:
        order = [
            row
            for start in range(0, len(order), GROUP * size)
            for row in sorted(
                order[start : start + GROUP * size], key=lambda row: len(examples.token_ids[row])
            )
        ]
        place = int(torch.randperm(per_epoch, generator=generator)[place])
    return order[place * size : (place + 1) * size]


def _schedule(step: int, steps: int, warmup_share: float) -> float:
    """The share of the full learning rate: linear warm-up, then linear decay to zero."""
    warmup = max(1, round(warmup_share * steps))
    if step < warmup:
        return (step + 1) / warmup
    return (steps - step) / max(1, steps - warmup)


def _seed(seed: int, step: int) -> int:
    """A seed for one step, different from those of all steps near it."""
    return random.Random(f"{seed}/{step}").getrandbits(63)
