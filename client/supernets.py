"""Requests about super-networks: what there is, and what their subnets cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import RootModel

from elasticnas.api_schemas.costs import CostReport, CostsRead, PricedSubnet
from elasticnas.api_schemas.feasibility import FeasibilityRead
from elasticnas.api_schemas.fields import Choice
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.spaces import LayersRead, SpaceRead
from elasticnas.api_schemas.supernets import AnySupernet, SupernetPending, SupernetRead
from elasticnas.client.connection import retry_after
from elasticnas.client.encoding import resource_path
from elasticnas.client.errors import ServerProblemError
from elasticnas.client.requests import Filter, Requests, given_filters

ANY_SUPERNET = RootModel[AnySupernet]

WAIT_SECONDS = 10
"""How long one request waits for a worker to have read a checkpoint."""


class SupernetRequests(Requests):
    """The part of the client about super-networks."""

    def add_supernet(
        self,
        archive: Path,
        name: str | None,
        on_wait: Callable[[SupernetPending], None] | None = None,
    ) -> SupernetRead:
        """Upload a checkpoint archive, and wait until a worker has read it, however long it takes.

        ``on_wait`` is told of it once it is there, and every ten seconds while it is being read.
        """
        fields = {} if name is None else {"name": name}
        answer = self._upload("/v1/supernets", "archive", archive, fields)
        found = self._connection.parsed(ANY_SUPERNET, answer).root
        while not isinstance(found, SupernetRead):
            if found.state == "failed":
                unexplained = Problem(title="failed", status=422, detail="no reason was given")
                raise ServerProblemError(found.problem or unexplained)
            if on_wait is not None:
                on_wait(found)
            found = self._once_read(found.id)
        return found

    def _once_read(self, supernet_id: str) -> SupernetRead | SupernetPending:
        """A super-network once a worker has read it, or after a while if none has."""
        path = resource_path("supernets", supernet_id)
        answer = self._connection.send("GET", path, headers={"Prefer": f"wait={WAIT_SECONDS}"})
        found = self._connection.parsed(ANY_SUPERNET, answer).root
        if found.state == "reading":
            time.sleep(retry_after(answer) or 0.0)
        return found

    def supernets(self, **filters: Filter) -> Iterator[SupernetRead | SupernetPending]:
        """All super-networks, the newest first, those that are not ready too.

        ``filters`` are those of ``GET /v1/supernets``: q, tag, state, method, sort.
        """
        return self._connection.pages("/v1/supernets", ANY_SUPERNET, params=given_filters(filters))

    def supernet(self, supernet_id: str) -> SupernetRead | SupernetPending:
        """One super-network."""
        return self._connection.read(resource_path("supernets", supernet_id), ANY_SUPERNET).root

    def space(self, supernet_id: str) -> SpaceRead:
        """Its search space."""
        return self._connection.read(resource_path("supernets", supernet_id, "space"), SpaceRead)

    def layers(self, supernet_id: str) -> LayersRead:
        """Its search space layer by layer."""
        return self._connection.read(resource_path("supernets", supernet_id, "layers"), LayersRead)

    def cost(
        self, supernet_id: str, subnet: Mapping[str, Choice], max_length: int | None = None
    ) -> CostReport:
        """What a subnet costs."""
        body = {"subnet": dict(subnet), "max_length": max_length}
        return self._ask(resource_path("supernets", supernet_id, "cost"), body, CostReport)

    def costs(
        self,
        supernet_id: str,
        subnets: Sequence[Mapping[str, Choice]],
        max_length: int | None = None,
        *,
        per_layer: bool = False,
    ) -> CostsRead:
        """What many subnets cost; with ``per_layer``, layer by layer."""
        body = {"subnets": list(subnets), "max_length": max_length, "per_layer": per_layer}
        return self._ask(resource_path("supernets", supernet_id, "costs"), body, CostsRead)

    def model_dict(
        self, supernet_id: str, model_dict: Mapping[str, Any], max_length: int | None = None
    ) -> PricedSubnet:
        """The subnet that has the layers of a FlexiBERT ``modelDict``, and what it costs."""
        body = {"model_dict": dict(model_dict), "max_length": max_length}
        return self._ask(resource_path("supernets", supernet_id, "model-dict"), body, PricedSubnet)

    def feasibility(
        self,
        supernet_id: str,
        constraints: Sequence[Mapping[str, Any]] = (),
        max_length: int | None = None,
    ) -> FeasibilityRead:
        """What constraints, such as ``{"cost": "gflops", "max": 8}``, leave of the space."""
        body = {"constraints": list(constraints), "max_length": max_length}
        path = resource_path("supernets", supernet_id, "feasibility")
        return self._ask(path, body, FeasibilityRead)
