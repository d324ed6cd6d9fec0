"""What REST shows of a super-network, and which may be used."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from elasticnas.api_schemas.costs import CostReport
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.supernets import (
    HeadKind,
    SpaceSummary,
    SupernetPending,
    SupernetRead,
    SupernetReport,
    SupernetState,
)
from elasticnas.search.cost import cost_report
from elasticnas.search.space import SearchSpace
from elasticnas.service.http.problems import refuse
from elasticnas.service.supernets.tables import SupernetRow


class SupernetSummary(BaseModel):
    """The part of a `SupernetRead` that comes from the worker's report."""

    method: str
    model_type: str
    head: HeadKind = HeadKind.CLASSIFIER
    num_labels: int
    reference_length: int
    max_positions: int
    space: SpaceSummary
    cost: dict[str, CostReport]


def summarise(report: SupernetReport) -> dict[str, Any]:
    """The summary of a report, as it is stored.

    Raises:
        InputError: the report's dimensions span no search space.
    """
    space = SearchSpace(report.dimensions)
    ends = {"maximal": space.maximal, "minimal": space.minimal}
    length = report.reference_length
    return SupernetSummary(
        method=report.method,
        model_type=report.model_type,
        head=report.head,
        num_labels=report.num_labels,
        reference_length=length,
        max_positions=report.max_positions,
        space=SpaceSummary(size=space.size, dimensions=len(space.dimensions), parts=space.parts()),
        cost={name: cost_report(report.cost_model, end, length) for name, end in ends.items()},
    ).model_dump(mode="json")


def require_ready(row: SupernetRow) -> SupernetRow:
    """The row, or 409 where its super-network cannot be used, or not yet."""
    if row.state == SupernetState.READING:
        raise refuse(
            "supernet-not-ready",
            f"a worker is still reading the checkpoint of super-network {row.id}; try again soon",
            supernet_state=row.state,
        )
    if row.state == SupernetState.FAILED:
        why = "" if row.problem is None else f": {row.problem.get('detail')}"
        raise refuse(
            "supernet-not-ready",
            f"the checkpoint of super-network {row.id} cannot be used{why}",
            supernet_state=row.state,
        )
    return row


def supernet_view(
    row: SupernetRow, waiting_for: str | None = None
) -> SupernetRead | SupernetPending:
    """A super-network in any state."""
    is_ready = row.state == SupernetState.READY
    return ready_view(row) if is_ready else pending_view(row, waiting_for)


def pending_view(row: SupernetRow, waiting_for: str | None = None) -> SupernetPending:
    """A super-network that is not ready."""
    return SupernetPending(
        id=row.id,
        name=row.name,
        notes=row.notes,
        tags=row.tags,
        state="failed" if row.state == SupernetState.FAILED else "reading",
        problem=None if row.problem is None else Problem.model_validate(row.problem),
        waiting_for=waiting_for,
        size_bytes=row.size_bytes,
        digest=row.digest,
        created_at=row.created_at,
    )


def ready_view(row: SupernetRow) -> SupernetRead:
    """A super-network that is ready."""
    summary = SupernetSummary.model_validate(row.summary)
    return SupernetRead(
        id=row.id,
        name=row.name,
        notes=row.notes,
        tags=row.tags,
        method=summary.method,
        model_type=summary.model_type,
        head=summary.head,
        num_labels=summary.num_labels,
        reference_length=summary.reference_length,
        max_positions=summary.max_positions,
        space=summary.space,
        cost=summary.cost,
        size_bytes=row.size_bytes,
        digest=row.digest,
        created_at=row.created_at,
    )
