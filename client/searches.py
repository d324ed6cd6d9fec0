"""Requests about searches: their course, and pictures of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import RootModel

from elasticnas.api_schemas.plots import PictureFormat, PlotKind
from elasticnas.api_schemas.searches import SearchRead
from elasticnas.client.encoding import json_body, resource_path
from elasticnas.client.event_stream import EventReader, SearchEvent, followed
from elasticnas.client.requests import Filter, Requests, given_filters

Transition = Literal["pause", "resume", "cancel", "extend", "retry"]


class SearchRequests(Requests):
    """The part of the client about searches."""

    def start_search(self, request: dict[str, Any]) -> SearchRead:
        """Submit a search; ``request`` is the body of ``POST /v1/searches``.

        However often the request is made, it starts one search.
        """
        return self._start("/v1/searches", request, SearchRead)

    def searches(self, **filters: Filter) -> Iterator[SearchRead]:
        """All searches, the newest first.

        ``filters`` are those of ``GET /v1/searches``: q, tag, state, supernet_id, dataset_id, sort.
        """
        return self._connection.pages("/v1/searches", SearchRead, params=given_filters(filters))

    def search(self, search_id: str) -> SearchRead:
        """One search."""
        return self._connection.read(resource_path("searches", search_id), SearchRead)

    def request(self, search_id: str) -> dict[str, Any]:
        """The request of a search as it was given, for `start_search`."""
        path = resource_path("searches", search_id, "request")
        return self._connection.read(path, RootModel[dict[str, Any]]).root

    def change(self, search_id: str, transition: Transition, **body: float) -> SearchRead:
        """Pause, resume, cancel, extend or retry a search; the body is that of the request."""
        path = resource_path("searches", search_id, transition)
        answer = self._connection.send("POST", path, **json_body(body) if body else {})
        return self._connection.parsed(SearchRead, answer)

    def events(self, search_id: str, after: int | None = None) -> Iterator[SearchEvent]:
        """What happens to a search until it is over, across lost connections.

        ``after`` is the id of the last event already seen; None begins now, 0 with the first.
        """
        path = resource_path("searches", search_id, "events")
        return followed(self._connection, path, EventReader(SearchEvent, after))

    def plot(self, search_id: str, kind: PlotKind, picture_format: PictureFormat) -> bytes:
        """A picture of a search, as the content of a file."""
        path = resource_path("searches", search_id, "plots", kind.value)
        params = {"format": picture_format.value}
        return self._connection.send("GET", path, params=params).content
