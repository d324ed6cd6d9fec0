"""Bags of adapters: problems of which it is known, by construction, which adapters help.

Each "layer" sees features of its own, through a LoRA pair: ``prediction = sum over layers of
g * B A x``. The target is a sum over the useful layers of one direction in their features. A decoy
has a feature that is the target itself on the training rows, and noise on all others: it fits the
training rows better than anything else, and helps with none. A dead layer sees zeros. What is left
sees noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from elasticnas.supernet.selection.optimiser import Tensors

LAYERS, DECOYS, DEAD, FEATURES, RANK = 12, 4, 2, 8, 4
TRAINING_ROWS, OUTER_ROWS = 96, 400
SCALING = 2.0


@dataclass(frozen=True)
class Rows:
    """``x`` has shape (rows, layers, features), ``y`` (rows,)."""

    x: torch.Tensor
    y: torch.Tensor


@dataclass(frozen=True)
class Bag:
    """A problem, and the truth about its layers."""

    training: Rows
    outer: Rows
    useful: frozenset[int]
    decoys: frozenset[int]
    dead: frozenset[int]
    theta: dict[str, torch.Tensor]


def bag(seed: int, useful: int) -> Bag:
    """A bag with so many useful layers of `LAYERS`, all else drawn by the seed."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(LAYERS, generator=generator).tolist()
    decoys, dead = order[useful : useful + DECOYS][: LAYERS - useful - DEAD], order[-DEAD:]
    directions = torch.randn(LAYERS, FEATURES, generator=generator)
    directions /= directions.norm(dim=1, keepdim=True)

    def rows(count: int, *, training: bool) -> Rows:
        x = torch.randn(count, LAYERS, FEATURES, generator=generator)
        y = torch.randn(count, generator=generator)  # where nothing is useful
        if useful:
            parts = [x[:, layer] @ directions[layer] for layer in order[:useful]]
            y = torch.stack(parts).sum(0) / useful**0.5
        if training:
            x[:, decoys, 0] = y[:, None]
        x[:, dead] = 0
        return Rows(x, y)

    a = (torch.rand(LAYERS, RANK, FEATURES, generator=generator) * 2 - 1) / FEATURES**0.5
    return Bag(
        rows(TRAINING_ROWS, training=True),
        rows(OUTER_ROWS, training=False),
        frozenset(order[:useful]),
        frozenset(decoys),
        frozenset(dead),
        {"lora_A": a, "lora_B": torch.zeros(LAYERS, 1, RANK)},
    )


def loss(theta: Tensors, gates: torch.Tensor, rows: Rows) -> torch.Tensor:
    """The mean squared error of the bag's prediction."""
    low = torch.einsum("nlf,lrf->nlr", rows.x, theta["lora_A"])
    found = torch.einsum("nlr,lor,l->no", low, theta["lora_B"], gates * SCALING)
    return (found.squeeze(1) - rows.y).square().mean()
