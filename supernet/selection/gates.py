"""Gates of groups of adapters, and one for a phantom adapter that is not there.

Flexora (Wei, Shu, He, Yu 2024, "Flexora: Flexible Low-Rank Adaptation for Large Language Models")
relaxes which layers are kept to one number alpha for each, and scales the layer's adapter by
``N * softmax(alpha)``: all gates are 1 at first, and their mean always is. Such gates only compare
groups. The phantom is ours: a gate that scales nothing, so its derivative is exactly 0. A group
whose alpha ends above the phantom's lowered the loss on the rows that gates are learnt on; one that
ends below raised it. So "none helps" and "all help" become possible answers.

For that, three things are otherwise than in the released code. The derivative is not taken at the
gates, but at `hypergradient.OUTER_SCALE` of them. At the gates it says whether more of an adapter
would help. Of a useful one that has learnt all it can that is 0, and where it has learnt a little
too much, positive: it then looks as if it did harm, which leaving it out shows to be false. Whether
it helps that it is there is told by the whole way from 0 to the gates: ``R(g) - R(0)`` is the sum
over groups of ``g * dR/dgate`` in the mean over that way (Aumann & Shapley 1974; integrated
gradients, Sundararajan et al. 2017), which a quadratic loss has halfway. But halfway the harm that
fitted noise does, which grows with the square of a gate, is half as visible beside what chance
makes of the outer rows: adapters of noise were kept. In between there is room for both. Derivatives
that are unrolled stay at the gates, for what the inner steps led to is good for those alone.

Nor may alphas move by Adam on the derivative by alpha. Softmax ties that derivative to the other
groups: with S the sum of ``gate * dR/dgate`` over all N, it is ``gate * (dR/dgate - S / N)``. Of a
group that helps less than the mean it has the sign of the phantom's, and Adam, which sees little
but signs, moves both alike: a weak but useful group is lost beside strong ones. With a phantom,
alphas follow ``dR/dgate`` itself (`by_gates`): softmax of them is the exponentiated gradient of
Kivinen & Warmuth 1997.

Nor may they move by Adam at all, which divides a derivative by the size that derivatives have of
late. At first B is next to zero, and so are they; Adam makes steps of full size of them, as of the
hundred times larger ones at the end. What an adapter does before it has learnt anything then weighs
as much as what it does in the end: of rows that give the label away in training alone, the first
turns help, and all later ones do harm. By dual averaging (`optimiser.DualAveraging`) an alpha is
the sum of all derivatives so far over the root of the sum of their squares. That is a score as
well: without an effect it is noise of about one ``gate_learning_rate``, whatever the number of
turns.
"""

from __future__ import annotations

import torch

from elasticnas.supernet.selection.optimiser import Adam, DualAveraging, Optimiser


def first_alphas(groups: int, *, phantom: bool, device: torch.device | None = None) -> torch.Tensor:
    """The alphas that a selection begins with, (groups,), with a phantom (groups + 1,): zeros.

    In float64, so that groups of equal derivatives stay equal.
    """
    return torch.zeros(groups + phantom, dtype=torch.float64, device=device)


def gates_of(alphas: torch.Tensor, *, phantom: bool, dtype: torch.dtype) -> torch.Tensor:
    """The gates (groups,) of groups with these ``alphas``, of which the last is the phantom's."""
    gates = len(alphas) * torch.softmax(alphas, dim=0)
    return (gates[:-1] if phantom else gates).to(dtype)


def by_gates(gradient: torch.Tensor, alphas: torch.Tensor) -> torch.Tensor:
    """The derivative by the gates, of one by ``alphas`` whose last is the phantom's; in its shape.

    Exactly 0 for the phantom, and 0 but for rounding for a group that changes nothing.
    """
    tied = gradient / gates_of(alphas, phantom=False, dtype=alphas.dtype)
    return tied - tied[-1]


def gate_optimiser(learning_rate: float, *, phantom: bool) -> Optimiser:
    """What moves alphas: Adam as in the released code; with a phantom, dual averaging."""
    return DualAveraging(learning_rate) if phantom else Adam(learning_rate)
