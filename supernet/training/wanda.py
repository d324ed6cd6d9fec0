"""Wanda: which weights of a linear layer matter least, by what the layer is given.

Sun, Liu, Bair, Kolter 2023, "A Simple and Effective Pruning Approach for Large Language Models",
section 3: the score of a weight is ``|W_ij| * ||X_j||_2``, its magnitude times the norm of its
input channel over all tokens of the calibration rows, and weights are compared within their row
alone. ``n:m`` keeps the n best of every m neighbours in a row.
"""

from __future__ import annotations

import torch

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.training import Sparsity


def kept(weight: torch.Tensor, squares: torch.Tensor, sparsity: Sparsity) -> torch.Tensor:
    """Which weights are kept: a boolean matrix like ``weight``, of shape (outputs, inputs).

    ``squares`` (inputs,) are the sums of squares of each input channel. Of weights that score alike
    those further to the left are pruned first.

    Raises:
        InputError: the inputs are no multiple of the m of ``n:m``.
    """
    scores = weight.float().abs() * squares.sqrt()
    inputs = weight.shape[1]
    if not isinstance(sparsity, str):
        return _best(scores, pruned=int(inputs * sparsity))
    best, of = map(int, sparsity.split(":"))
    if inputs % of:
        raise InputError(
            f"a layer has {inputs} inputs, which are not whole groups of {of}",
            field="sparsity",
            value=sparsity,
            remedy="choose an m that divides them, or a ratio",
        )
    groups = scores.view(len(scores), -1, of)
    return _best(groups, pruned=of - best).flatten(1)


def _best(scores: torch.Tensor, pruned: int) -> torch.Tensor:
    """True but for the ``pruned`` smallest along the last axis."""
    worst = scores.sort(dim=-1, stable=True).indices[..., :pruned]
    return torch.ones_like(scores, dtype=torch.bool).scatter(-1, worst, False)
