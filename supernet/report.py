"""What reading a checkpoint tells the service, which has no torch to look for itself."""

from __future__ import annotations

from elasticnas.api_schemas.supernets import SupernetReport
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.supernet import Supernet


def report(supernet: Supernet) -> SupernetReport:
    """Everything that the service needs to know of a super-network."""
    longest = supernet.family.longest(supernet.config)
    return SupernetReport(
        method=supernet.method,
        model_type=supernet.family.model_type,
        num_labels=supernet.num_labels,
        label_names=supernet.label_names,
        reference_length=min(supernet.reference_length, longest),
        max_positions=longest,
        has_adapters=bool(supernet.adapters),
        dimensions=supernet.space.dimensions,
        cost_model=cost_model(supernet),
        presences=supernet.plan.presences,
        head=supernet.task_head.kind,
    )
