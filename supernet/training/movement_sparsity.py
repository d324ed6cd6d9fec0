"""Learning movement sparsity's scores, as EFTNAS does for the importance of heads and neurons.

Sanh, Wolf, Rush 2020, "Movement Pruning", section 4 (soft movement pruning), in the structured form
that Munoz et al. 2024, "EFTNAS", section 3.1, take from NNCF. Every block of a matrix (in attention
at most 32 x 32 within a head, in the FFN a row or a column), and the bias of its rows, has a score.
A forward pass keeps the blocks whose score is above a threshold; a score is learnt as if the mask
were the score itself, so it grows while its weights move away from zero.

The threshold is minus infinity for an epoch, then rises from the lowest scores to 0; the pull on
the scores rises alike. Both follow ``1 - (1 - p)^3`` with p the progress between the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from elasticnas.api_schemas.spaces import HEADS
from elasticnas.supernet.elasticity.axes import Axis, axes_of
from elasticnas.supernet.elasticity.movement import MatrixScores, MovementScores
from elasticnas.supernet.families.family import ATTENTION_ROLES, FFN_ROLES, Role
from elasticnas.supernet.plan import ModelShape

PULL = 0.02
"""How strongly scores are pulled down in the end."""
FIRST_CUT = 0.001
"""The threshold begins at this quantile of all scores."""
LARGEST = 32
"""A block of an attention matrix has at most so many rows and columns."""


class _Above(torch.autograd.Function):
    """1 where a score is above a threshold, else 0; the gradient passes to the score unchanged."""

    @staticmethod
    def forward(_: Any, scores: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
        return (scores > threshold).to(scores.dtype)

    @staticmethod
    def backward(_: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0], None


@dataclass(frozen=True)
class Blocks:
    """A matrix in blocks: the scores of its ``weight`` and ``bias``, and ``rows`` x ``columns``."""

    name: str
    weight: nn.Parameter
    bias: nn.Parameter | None
    rows: int
    columns: int

    def masked(
        self, tensors: Mapping[str, torch.Tensor], threshold: torch.Tensor
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """The layer's tensors with what is not above the threshold at zero."""
        name = f"{self.name}.weight"
        whole = tensors[name]
        high, wide = self.weight.shape
        mask = _Above.apply(self.weight, threshold)  # type: ignore[no-untyped-call]
        blocks = whole.view(high, self.rows, wide, self.columns) * mask[:, None, :, None]
        yield name, blocks.view_as(whole)
        if self.bias is not None:
            name = f"{self.name}.bias"
            mask = _Above.apply(self.bias, threshold)  # type: ignore[no-untyped-call]
            yield name, (tensors[name].view(high, self.rows) * mask[:, None]).flatten()

    @property
    def pull(self) -> torch.Tensor:
        """What pulls the scores down: a block as strongly as it is large."""
        pulls = self.weight.sigmoid().mean() * (self.rows * self.columns)
        if self.bias is not None:
            pulls = pulls + self.bias.sigmoid().mean() * self.rows
        return pulls / 2

    def weighed(self) -> list[tuple[torch.Tensor, int]]:
        """The scores, each with how many weights it stands for."""
        found = [(self.weight.detach().flatten(), self.rows * self.columns)]
        return found if self.bias is None else [*found, (self.bias.detach(), self.rows)]


class MovementSparsity:
    """The scores of a model's layers while they are learnt, all zero at first.

    ``lowest`` (1,) is the quantile that the threshold begins at, once it is known: it must be saved
    with the scores.
    """

    def __init__(self, shape: ModelShape, warmup: range, device: torch.device) -> None:
        self._units = axes_of(shape)
        self._warmup = warmup
        self._blocks = {
            (axis.layer, role): _blocks(shape, axis, role, device)
            for axis in self._units
            for role in (*_writers(shape, axis), axis.reader)
        }
        self.lowest = torch.full((1,), -math.inf, device=device)

    @property
    def parameters(self) -> dict[str, torch.Tensor]:
        """The scores by name."""
        named: dict[str, torch.Tensor] = {}
        for blocks in self._blocks.values():
            named[f"{blocks.name}.weight_importance"] = blocks.weight
            if blocks.bias is not None:
                named[f"{blocks.name}.bias_importance"] = blocks.bias
        return named

    def masked(self, tensors: Mapping[str, torch.Tensor], step: int) -> dict[str, torch.Tensor]:
        """The tensors of all layers with scores as a step runs them, by name."""
        if step == self._warmup.start:
            self.lowest.copy_(self._quantile(FIRST_CUT))
        threshold = self.lowest * (1 - self._risen(step))
        if step < self._warmup.start:
            threshold = torch.full_like(threshold, -math.inf)
        return dict(
            pair for blocks in self._blocks.values() for pair in blocks.masked(tensors, threshold)
        )

    def pull(self, step: int) -> torch.Tensor:
        """What is added to a step's loss."""
        pulls = torch.stack([blocks.pull for blocks in self._blocks.values()])
        return PULL * self._risen(step) * pulls.mean()

    def found(self) -> MovementScores:
        """The scores as they are now."""
        matrices = {
            place: MatrixScores(
                blocks.weight.detach().cpu().numpy(),
                None if blocks.bias is None else blocks.bias.detach().cpu().numpy(),
            )
            for place, blocks in self._blocks.items()
        }
        return MovementScores(matrices, self._units)

    def _risen(self, step: int) -> float:
        progress = (step - self._warmup.start) / len(self._warmup)
        return 1 - (1 - min(1.0, max(0.0, progress))) ** 3

    def _quantile(self, share: float) -> torch.Tensor:
        """The score below which so large a share of all weights lies."""
        weighed = [each for blocks in self._blocks.values() for each in blocks.weighed()]
        scores = torch.cat([score for score, _ in weighed])
        counts = torch.cat([torch.full((len(score),), count) for score, count in weighed])
        order = scores.cpu().argsort(stable=True)
        reached = counts[order].cumsum(0)
        place = int(torch.searchsorted(reached, math.ceil(share * int(reached[-1]))))
        return scores[order[place]]


def _writers(shape: ModelShape, axis: Axis) -> Sequence[Role]:
    roles = ATTENTION_ROLES if axis.part == HEADS else FFN_ROLES
    return [role for role in roles if role in shape.family.linears]


def _blocks(shape: ModelShape, axis: Axis, role: Role, device: torch.device) -> Blocks:
    """The blocks of a layer that writes an axis's units, or reads them."""
    name = shape.family.module(axis.layer, role)
    outputs, inputs = shape.shapes[f"{name}.weight"]
    reads = role is axis.reader
    if axis.part == HEADS:
        of_unit = math.gcd(LARGEST, shape.head_channels(name))
        rows, columns = of_unit, math.gcd(LARGEST, inputs)
        if reads:
            rows, columns = math.gcd(LARGEST, outputs), of_unit
    else:
        rows, columns = (outputs, 1) if reads else (1, inputs)
    scores = torch.zeros(outputs // rows, inputs // columns, device=device)
    bias = None
    if f"{name}.bias" in shape.shapes:
        bias = nn.Parameter(torch.zeros(outputs // rows, device=device))
    return Blocks(name, nn.Parameter(scores), bias, rows, columns)


def named(scores: MovementScores) -> dict[str, torch.Tensor]:
    """Scores as tensors by layer, role and what they are of, for a file."""
    found = {}
    for (layer, role), matrix in scores.matrices.items():
        found[f"{layer}.{role}.weight"] = torch.from_numpy(matrix.weight.copy())
        if matrix.bias is not None:
            found[f"{layer}.{role}.bias"] = torch.from_numpy(matrix.bias.copy())
    return found


def read_named(tensors: Mapping[str, torch.Tensor], units: Mapping[Axis, int]) -> MovementScores:
    """The scores that `named` made tensors of."""
    matrices = {}
    for name, weight in tensors.items():
        layer, role, part = name.split(".")
        if part == "weight":
            bias = tensors.get(f"{layer}.{role}.bias")
            scores = MatrixScores(weight.numpy(), None if bias is None else bias.numpy())
            matrices[int(layer), Role(role)] = scores
    return MovementScores(matrices, units)
