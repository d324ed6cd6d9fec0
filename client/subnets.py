"""Requests about the subnets that a search has found: results, the front, weights."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2

from elasticnas.api_schemas.comparison import ComparisonRead
from elasticnas.api_schemas.jobs import JobRead
from elasticnas.api_schemas.points import PointsRead
from elasticnas.api_schemas.searches import EvaluationRead, FrontRead
from elasticnas.api_schemas.weights import ExportsRead
from elasticnas.client.connection import retry_after
from elasticnas.client.download import OnBytes, download
from elasticnas.client.encoding import resource_path
from elasticnas.client.requests import Filter, Requests, given_filters


class SubnetRequests(Requests):
    """The part of the client about the subnets of a search."""

    def front(self, search_id: str, **bounds: float) -> FrontRead:
        """The Pareto front; ``bounds`` are filters such as ``max_gflops``."""
        answer = self._front(search_id, **bounds)
        return self._connection.parsed(FrontRead, answer)

    def front_csv(self, search_id: str, **bounds: float) -> str:
        """The Pareto front as CSV, filtered alike."""
        return self._front(search_id, **bounds, format="csv").text

    def _front(self, search_id: str, **params: float | str) -> httpx2.Response:
        path = resource_path("searches", search_id, "front")
        return self._connection.send("GET", path, params=params)

    def evaluations(self, search_id: str, **filters: Filter) -> Iterator[EvaluationRead]:
        """All evaluations of a search, by number.

        ``filters``: state, on_front, sort, and bounds such as ``max_gflops``.
        """
        path = resource_path("searches", search_id, "evaluations")
        return self._connection.pages(
            path, EvaluationRead, limit=500, params=given_filters(filters)
        )

    def evaluation(self, search_id: str, number: int) -> EvaluationRead:
        """One evaluation of a search."""
        path = resource_path("searches", search_id, "evaluations", number)
        return self._connection.read(path, EvaluationRead)

    def points(
        self, search_id: str, fields: Sequence[str] | None = None, after: int = 0
    ) -> PointsRead:
        """Results as columns, those recorded after the ``after``-th; read on while ``more``.

        ``fields`` are metrics, costs and those of `PointField`; None: number, state, objectives.
        """
        params: dict[str, str | int] = {"after": after}
        if fields is not None:
            params["fields"] = ",".join(fields)
        path = resource_path("searches", search_id, "points")
        answer = self._connection.send("GET", path, params=params)
        return self._connection.parsed(PointsRead, answer)

    def compare(self, search_id: str, a: int, b: int) -> ComparisonRead:
        """What changes from one subnet of a search to another, with paired intervals."""
        path = resource_path("searches", search_id, "compare")
        answer = self._connection.send("GET", path, params={"a": a, "b": b})
        return self._connection.parsed(ComparisonRead, answer)

    def exports(self, search_id: str, number: int) -> ExportsRead:
        """In which formats a subnet's weights can be had, and which are built."""
        path = resource_path("searches", search_id, "subnets", number, "exports")
        return self._connection.read(path, ExportsRead)

    def download_weights(
        self,
        search_id: str,
        number: int,
        weights_format: str,
        target: Path,
        on_bytes: OnBytes | None = None,
    ) -> Path:
        """Wait until a worker has built the weights, then download them to ``target``.

        ``on_bytes`` is told how many bytes of how many are there. A download that breaks off goes
        on where it stopped. The file appears under its name only when it is whole.
        """
        path = resource_path("searches", search_id, "subnets", number, "weights")
        params = {"format": weights_format}
        first_byte = {"Range": "bytes=0-0"}
        while True:
            answer = self._connection.send("GET", path, params=params, headers=first_byte)
            if answer.status_code != 202:
                break
            time.sleep(retry_after(answer) or 1.0)
        etag = answer.headers.get("ETag", "")
        return download(self._connection, path, params, target, etag=etag, on_bytes=on_bytes)

    def finetune(self, search_id: str, number: int, request: dict[str, Any]) -> JobRead:
        """Have a subnet that a search has measured trained on by itself.

        ``request`` is the body of ``POST /v1/searches/{id}/subnets/{number}/finetune``. However
        often it is made, it starts one job, whose step `measure` leaves the model.
        """
        path = resource_path("searches", search_id, "subnets", number, "finetune")
        return self._start(path, request, JobRead)
