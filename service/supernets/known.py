"""What is known of registered super-networks, read from the database once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from api_schemas.costs import CostReport
from api_schemas.supernets import SupernetReport
from search.cost import cost_report
from search.space import SearchSpace, SubnetConfig
from service.supernets.tables import SupernetRow

CAPACITY = 64


@dataclass(frozen=True)
class KnownSupernet:
    """A worker's report, and the search space it spans."""

    report: SupernetReport
    space: SearchSpace

    def cost(self, subnet: SubnetConfig, max_length: int) -> CostReport:
        """What a subnet costs at this sequence length."""
        return cost_report(self.report.cost_model, subnet, max_length)


class KnownSupernets:
    """A cache of reports by super-network id. A report never changes once it is recorded."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, KnownSupernet] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, session: Session, supernet_id: str) -> KnownSupernet:
        """What is known of a ready super-network."""
        with self._lock:
            if (known := self._known.get(supernet_id)) is not None:
                self._known.move_to_end(supernet_id)
                return known
        stored = session.scalars(
            select(SupernetRow.report).where(SupernetRow.id == supernet_id)
        ).one()
        report = SupernetReport.model_validate(stored)
        known = KnownSupernet(report, SearchSpace(report.dimensions))
        with self._lock:
            self._known[supernet_id] = known
            while len(self._known) > CAPACITY:
                self._known.popitem(last=False)
        return known
