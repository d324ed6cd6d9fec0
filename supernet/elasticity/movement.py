"""EFTNAS's scores: what movement sparsity learns of every block of a matrix.

Munoz et al. 2024, "EFTNAS", section 3.1, and Sanh et al. 2020, "Movement Pruning". A score belongs
to a block of a weight (32 x 32 in attention, a row or a column in the FFN) and to the bias of a
block's rows. What survives a threshold, and what the units are ordered by, are two rules that the
original does not make of the same scores: the order knows neither biases nor the layers that read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from elasticnas.api_schemas.spaces import HEADS
from elasticnas.supernet.elasticity.axes import Axis, Scores
from elasticnas.supernet.families.family import ATTENTION_ROLES, FFN_ROLES, Role

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class MatrixScores:
    """Of one linear layer: ``weight`` (row blocks, column blocks) and ``bias`` (row blocks,)."""

    weight: Floats
    bias: Floats | None = None

    def rows_above(self, threshold: float) -> Flags:
        """The row blocks that live: by a weight, or by their bias if any weight of the layer does.

        Rows and columns of a layer are multiplied into its mask, so that a bias alone keeps none.
        """
        weights = self.weight > threshold
        rows = np.asarray(weights.any(axis=1))
        if self.bias is not None and weights.any():
            rows |= self.bias > threshold
        return rows

    def columns_above(self, threshold: float) -> Flags:
        """The column blocks in which a weight lives."""
        return np.asarray((self.weight > threshold).any(axis=0))


@dataclass(frozen=True)
class MovementScores:
    """The scores of a model's linear layers, by layer and role; ``units`` of every axis."""

    matrices: Mapping[tuple[int, Role], MatrixScores]
    units: Mapping[Axis, int]

    def scores(self) -> Scores:
        """What the original orders by: of heads the sums of query, key and value, of neurons the
        first FFN layer's."""
        found = {}
        for axis, count in self.units.items():
            sums = np.zeros(count)
            for matrix in self._writers(axis):
                sums += matrix.weight.astype(np.float64).reshape(count, -1).sum(axis=1)
            found[axis] = torch.from_numpy(sums)
        return found

    def widths(self, threshold: float) -> dict[Axis, int]:
        """How many units of every axis survive: any block of theirs above the threshold."""
        return {axis: int(self._alive(axis, threshold).sum()) for axis in self.units}

    def _alive(self, axis: Axis, threshold: float) -> Flags:
        count = self.units[axis]
        alive: Flags = np.zeros(count, dtype=np.bool_)
        for matrix in self._writers(axis):
            alive |= matrix.rows_above(threshold).reshape(count, -1).any(axis=1)
        reader = self.matrices[axis.layer, axis.reader]
        return alive | reader.columns_above(threshold).reshape(count, -1).any(axis=1)

    def _writers(self, axis: Axis) -> list[MatrixScores]:
        """The scores of the layers whose outputs are the units."""
        roles = ATTENTION_ROLES if axis.part == HEADS else FFN_ROLES
        layers = [(axis.layer, role) for role in roles]
        return [self.matrices[each] for each in layers if each in self.matrices]
