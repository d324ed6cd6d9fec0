"""The reports of registered super-networks, read from the database once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy.orm import Session

from elasticnas.api_schemas.costs import CostReport
from elasticnas.api_schemas.supernets import SupernetReport
from elasticnas.search.cost import cost_report
from elasticnas.search.layer_costs import LayeredCosts
from elasticnas.search.space import SearchSpace, SubnetConfig
from elasticnas.service.http.problems import not_found
from elasticnas.service.supernets import repository

CAPACITY = 64


@dataclass(frozen=True)
class ReportedSupernet:
    """A worker's report, and the search space it spans."""

    report: SupernetReport
    space: SearchSpace

    @cached_property
    def layered(self) -> LayeredCosts:
        """What each of its layers costs."""
        return LayeredCosts(self.space, self.report.cost_model, self.report.presences)

    def cost(self, subnet: SubnetConfig, max_length: int) -> CostReport:
        """What a subnet costs at this sequence length."""
        return cost_report(self.report.cost_model, subnet, max_length)


class ReportCache:
    """A cache of reports by super-network id. A report never changes once it is recorded."""

    def __init__(self) -> None:
        self._reported: OrderedDict[str, ReportedSupernet] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, session: Session, supernet_id: str) -> ReportedSupernet:
        """A ready super-network as its worker reported it.

        Raises:
            ProblemError: 404, there is none.
        """
        found = self.get_all(session, [supernet_id])
        if supernet_id not in found:  # deleted since it was looked up
            raise not_found("super-network", supernet_id)
        return found[supernet_id]

    def get_all(
        self, session: Session, supernet_ids: Collection[str]
    ) -> dict[str, ReportedSupernet]:
        """Several, by id: one statement for all that are not in the cache."""
        found: dict[str, ReportedSupernet] = {}
        with self._lock:
            for supernet_id in supernet_ids:
                if (cached := self._reported.get(supernet_id)) is not None:
                    self._reported.move_to_end(supernet_id)
                    found[supernet_id] = cached
        if missing := [each for each in supernet_ids if each not in found]:
            stored = repository.reports(session, missing)
            read = {supernet_id: _reported(report) for supernet_id, report in stored.items()}
            self._keep(read)
            found |= read
        return found

    def forget(self) -> None:
        """Begin with an empty cache."""
        with self._lock:
            self._reported.clear()

    def _keep(self, read: Mapping[str, ReportedSupernet]) -> None:
        with self._lock:
            self._reported.update(read)
            while len(self._reported) > CAPACITY:
                self._reported.popitem(last=False)


def _reported(stored: Any) -> ReportedSupernet:
    report = SupernetReport.model_validate(stored)
    return ReportedSupernet(report, SearchSpace(report.dimensions))
