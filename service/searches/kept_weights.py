"""How much of the store one search may fill with the weights that its subnets have learnt."""

from __future__ import annotations

from elasticnas.api_schemas.conditions import TrainingStart
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.searches import SearchCreate
from elasticnas.service.supernets.report_cache import ReportedSupernet

BYTES = 4
"""Of a number: subnets are trained, and kept, in float32."""
STATE = 3
"""Numbers that a training goes on from for each of its own: AdamW has two moments beside it."""


def require_room(
    request: SearchCreate,
    supernet: ReportedSupernet,
    limit_bytes: int,
    field: str = "budget/evaluations",
) -> None:
    """A search that keeps what its subnets learn has no more of them than there is room for.

    Counted as if each were the maximal subnet: what it takes is known before the search begins.

    Raises:
        InputError: about ``field``, the number of evaluations: they may take too much.
    """
    copies = _copies(request)
    if not copies:
        return
    each = copies * BYTES * supernet.cost(supernet.space.maximal, 1).params
    evaluations = request.budget.evaluations
    if evaluations * each > limit_bytes:
        raise InputError(
            f"what {evaluations} subnets learn may take {evaluations * each / 2**30:.1f} GiB of "
            f"the store, more than the {limit_bytes / 2**30:.1f} GiB that a search may keep there",
            field=field,
            value=evaluations,
            remedy=f"evaluate at most {limit_bytes // each}; let trainings start with the "
            f"{TrainingStart.SUPERNET} and leave halving out; or have the operator raise "
            "ELASTICNAS_TRAINED_WEIGHTS_BYTES",
        )


def _copies(request: SearchCreate) -> int:
    """How many numbers are stored for each number of a subnet, at most."""
    asked = request.fine_tune
    if asked is None:
        return 0
    kept = 1 if asked.start is TrainingStart.NEAREST else 0
    return kept if asked.halving is None else kept + STATE * asked.halving.last
