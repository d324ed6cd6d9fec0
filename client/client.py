"""One method for each thing that a server can be asked for."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Literal, Self

import httpx2

from elasticnas.api_schemas.meta import Meta
from elasticnas.api_schemas.workers import WorkerRead
from elasticnas.client.connection import DEFAULT_SERVER, Connection
from elasticnas.client.datasets import DatasetRequests
from elasticnas.client.encoding import json_body, resource_path
from elasticnas.client.errors import RepeatedProblemError
from elasticnas.client.event_stream import EventReader, OverviewEvent, followed
from elasticnas.client.jobs import JobRequests
from elasticnas.client.searches import SearchRequests
from elasticnas.client.subnets import SubnetRequests
from elasticnas.client.supernets import SupernetRequests

Annotatable = Literal["supernets", "datasets", "searches"]
"""What has notes and tags."""


class Client(SupernetRequests, DatasetRequests, SearchRequests, SubnetRequests, JobRequests):
    """Speaks to one server; as a context manager, it closes its connections at the end.

    A request is made again, a few times, where that cannot do its work twice: when it found no
    server, when the server said by Retry-After that it did nothing yet, and after a lost answer if
    it only reads, deletes, or carries an Idempotency-Key.

    Args:
        server: its URL.
        transport: stands in for the network, in tests.

    Raises:
        InputError: ``server`` is no URL, the proxy before it cannot be used, or a number of a
            request is infinite or none.
        ServerProblemError: the server answered with a problem document.
        ServerUnreachableError: it did not answer at all, or something else answered.
    """

    def __init__(
        self, server: str = DEFAULT_SERVER, *, transport: httpx2.BaseTransport | None = None
    ) -> None:
        self._connection = Connection(server, transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to the server."""
        self._connection.close()

    def is_ready(self) -> bool:
        """True when the server can take work; asks once."""
        return self._connection.answers_well("/readyz")

    def meta(self) -> Meta:
        """What the server is and can do: version, limits, tasks, costs, strategies, recipes."""
        return self._connection.read("/v1/meta", Meta)

    def workers(self) -> list[WorkerRead]:
        """The workers, at most a hundred, the one heard from last first: what each is at."""
        return list(self._connection.pages("/v1/workers", WorkerRead))

    def annotate(self, kind: Annotatable, identifier: str, **changes: Any) -> None:
        """Write a ``name``, ``notes`` or ``tags`` on something; what is not given stays."""
        path = resource_path(kind, identifier)
        self._connection.send("PATCH", path, **json_body(changes), is_repeatable=True)

    def delete(self, kind: str, identifier: str) -> None:
        """Delete one of ``supernets``, ``datasets``, ``searches`` or ``jobs``."""
        try:
            self._connection.send("DELETE", resource_path(kind, identifier))
        except RepeatedProblemError as error:
            if error.problem.status != 404:  # gone by the first try, whose answer was lost
                raise

    def all_events(self, after: int | None = None) -> Iterator[OverviewEvent]:
        """What happens to all searches and jobs, without end, across lost connections.

        ``after`` is the id of the last event already seen; None begins now, 0 with the first kept.
        """
        return followed(self._connection, "/v1/events", EventReader(OverviewEvent, after))
