"""Magnitude: the norm of all weights of a unit, which needs no data (Han et al. 2015)."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from elasticnas.supernet.elasticity.axes import Scores, axes_of, cuts_along
from elasticnas.supernet.plan import ModelShape


def magnitudes(tensors: Mapping[str, torch.Tensor], shape: ModelShape) -> Scores:
    """The L2 norm of what a unit has in the weights that write and read it; biases do not count."""
    scores = {}
    for axis, count in axes_of(shape).items():
        squares = torch.zeros(count, dtype=torch.float64)
        for cut in cuts_along(shape, axis):
            if cut.tensor.endswith(".weight"):
                channels = tensors[cut.tensor].detach().float().square().sum(1 - cut.axis)
                squares += channels.view(count, -1).sum(1).double().cpu()
        scores[axis] = squares.sqrt()
    return scores
