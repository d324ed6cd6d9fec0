"""The Fisher matrix of a model is about what the model itself would say, not about given labels.

``E_x E_{y ~ p(y|x)} g g^T`` with ``g`` the gradient of ``log p(y|x)``. Where a model has learnt its
rows by heart the gradients for their labels vanish, those for its own distribution do not (Kunstner
et al. 2019, "Limitations of the Empirical Fisher Approximation", section 3).
"""

from __future__ import annotations

import torch
from torch.nn import functional

EXACT = 3
"""Of so many classes at most every one has a backward pass of its own."""


def class_losses(logits: torch.Tensor, generator: torch.Generator) -> list[torch.Tensor]:
    """Sums over rows whose squared gradients, added up, are a row's part of the Fisher matrix.

    ``logits`` (rows, labels). A label c of probability p_c has ``sqrt(p_c) (z_c - sum_k p_k z_k)``.
    The two of two classes are the same but for a factor, and are one. Those of many classes are
    added up under random signs: products of two of them vanish in the mean. A regression is taken
    for a normal distribution of its own value.
    """
    if logits.shape[1] == 1:
        return [logits.sum()]
    logits = logits.float()
    shares = logits.detach().softmax(-1)
    if logits.shape[1] == 2:
        return [(shares.prod(-1).sqrt() * (logits[:, 1] - logits[:, 0])).sum()]
    each = shares.sqrt() * (logits - (shares * logits).sum(-1, keepdim=True))
    if logits.shape[1] <= EXACT:
        return [each[:, label].sum() for label in range(logits.shape[1])]
    signs = torch.randint(2, logits.shape, generator=generator).mul(2).sub(1)
    return [(each * signs.to(each)).sum()]


def token_loss(logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The mean loss of tokens that the model itself draws, ``logits`` (places, vocabulary)."""
    logits = logits.float()
    draws = torch.rand(len(logits), 1, generator=generator).to(logits.device)
    sums = logits.detach().softmax(-1).cumsum(-1)
    tokens = torch.searchsorted(sums, draws).clamp(max=logits.shape[1] - 1)
    return functional.cross_entropy(logits, tokens.squeeze(1))
