"""From a stored super-network to what REST shows."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from api_schemas.costs import CostReport
from api_schemas.supernets import Method, SpaceSummary, SupernetRead, SupernetReport
from search.cost import cost_report
from search.space import SearchSpace
from service.supernets.tables import SupernetRow


class SupernetSummary(BaseModel):
    """The part of a `SupernetRead` that comes from the worker's report."""

    method: Method
    model_type: str
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
        num_labels=report.num_labels,
        reference_length=length,
        max_positions=report.max_positions,
        space=SpaceSummary(size=space.size, dimensions=len(space.dimensions), kinds=space.kinds()),
        cost={name: cost_report(report.cost_model, end, length) for name, end in ends.items()},
    ).model_dump(mode="json")


def read(row: SupernetRow) -> SupernetRead:
    """A ready super-network as REST shows it."""
    summary = SupernetSummary.model_validate(row.summary)
    return SupernetRead(
        id=row.id,
        name=row.name,
        method=summary.method,
        model_type=summary.model_type,
        num_labels=summary.num_labels,
        reference_length=summary.reference_length,
        max_positions=summary.max_positions,
        space=summary.space,
        cost=summary.cost,
        size_bytes=row.size_bytes,
        digest=row.digest,
        created_at=row.created_at,
    )
