"""Shears: elastic low-rank adapters on a sparse model that stays as it is.

Munoz, Yuan, Jain 2024, "Shears: Unstructured Sparsity with Neural Low-rank Adapter Search": the
base is made sparse without training (`methods.wanda`), and adapters are trained that make good for
it, with ranks drawn at random for every step. Ranks are all that is elastic.
"""

from __future__ import annotations

from collections.abc import Sequence

from elasticnas.supernet.default_space import rank_space
from elasticnas.supernet.families.family import ATTENTION_ROLES, Family, Role
from elasticnas.supernet.methods.lonas import Adaptation, fine_tune
from elasticnas.supernet.methods.step import StepRun


def shears_roles(_: Family) -> Sequence[Role]:
    """Query, key and value, and the first and the last layer of the FFN; no gate."""
    return (*ATTENTION_ROLES, Role.FFN_IN, Role.FFN_OUT)


SHEARS = Adaptation(shears_roles, rank_space)


def train(run: StepRun) -> None:
    """Fine-tune a super-network on a sparse model, and leave it as a checkpoint.

    Raises:
        InputError: a base model or space that cannot be used, or rows that are too long.
        StepStoppedError: the run must stop.
    """
    fine_tune(run, SHEARS)
