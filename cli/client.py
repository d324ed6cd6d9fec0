"""A typed client of the REST interface."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from api_schemas.costs import CostReport
from api_schemas.datasets import DatasetRead
from api_schemas.paging import Page
from api_schemas.plots import PictureFormat, PlotKind
from api_schemas.problems import Problem
from api_schemas.searches import EvaluationRead, FrontRead, SearchRead
from api_schemas.spaces import SpaceRead
from api_schemas.supernets import AnySupernet, SupernetPending, SupernetRead
from cli.event_stream import EventReader, SearchEvent

Read = TypeVar("Read", bound=BaseModel)

DEFAULT_SERVER = "http://127.0.0.1:8000"
TRIES = 5
"""How often a download or stream that breaks off is taken up again where it stopped."""
SILENCE_SECONDS = 60.0
"""A stream of events that is silent for so long is lost: the server says something every 15 s."""

Transition = Literal["pause", "resume", "cancel", "extend", "retry"]


class ServerProblemError(Exception):
    """The server refused a request; ``problem`` says why."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.detail)


class ServerUnreachableError(Exception):
    """No server answers at this address."""


class Client:
    """Speaks to one server.

    Raises:
        ServerProblemError: the server answered with a problem document.
        ServerUnreachableError: it did not answer at all.
    """

    def __init__(self, server: str = DEFAULT_SERVER) -> None:
        self._server = server
        # An upload waits for a worker to read the checkpoint; nothing else takes long.
        self._http = httpx.Client(base_url=server, timeout=httpx.Timeout(30.0, read=600.0))

    def is_ready(self) -> bool:
        """True when the server can take work."""
        try:
            self._send("GET", "/readyz")
        except ServerProblemError:
            return False
        return True

    # -- super-networks and datasets ---------------------------------------------------------

    def add_supernet(
        self,
        archive: Path,
        name: str | None,
        on_wait: Callable[[SupernetPending], None] | None = None,
    ) -> SupernetRead:
        """Upload a checkpoint archive, and wait until a worker has read it, however long it takes.

        ``on_wait`` is told every second or so of one that is still being read.
        """
        with archive.open("rb") as file:
            answer = self._send(
                "POST",
                "/v1/supernets",
                files={"archive": (archive.name, file)},
                data={} if name is None else {"name": name},
            )
        if answer.status_code == 202:
            return self._read_supernet(answer, on_wait)
        return SupernetRead.model_validate_json(answer.content)

    def _read_supernet(
        self, answer: httpx.Response, on_wait: Callable[[SupernetPending], None] | None
    ) -> SupernetRead:
        """Wait until a worker has read what ``answer`` says is being read."""
        while True:
            found = self._any_supernet(answer.headers["Location"])
            if isinstance(found, SupernetRead):
                return found
            if found.state == "failed":
                unexplained = Problem(title="failed", status=422, detail="no reason was given")
                raise ServerProblemError(found.problem or unexplained)
            if on_wait is not None:
                on_wait(found)
            time.sleep(float(answer.headers.get("Retry-After", "1")))

    def supernets(self) -> Iterator[SupernetRead | SupernetPending]:
        """All super-networks, the newest first, those that are not ready too."""
        return self._pages("/v1/supernets", AnySupernet)

    def supernet(self, supernet_id: str) -> SupernetRead | SupernetPending:
        """One super-network."""
        return self._any_supernet(f"/v1/supernets/{supernet_id}")

    def _any_supernet(self, path: str) -> SupernetRead | SupernetPending:
        found: SupernetRead | SupernetPending = TypeAdapter(AnySupernet).validate_json(
            self._send("GET", path).content
        )
        return found

    def space(self, supernet_id: str) -> SpaceRead:
        """Its search space."""
        return self._read(f"/v1/supernets/{supernet_id}/space", SpaceRead)

    def cost(
        self, supernet_id: str, subnet: dict[str, int], max_length: int | None = None
    ) -> CostReport:
        """What a subnet costs."""
        answer = self._send(
            "POST",
            f"/v1/supernets/{supernet_id}/cost",
            json={"subnet": subnet, "max_length": max_length},
        )
        return CostReport.model_validate_json(answer.content)

    def add_dataset(self, file: Path, fields: dict[str, str]) -> DatasetRead:
        """Upload validation data; ``fields`` are the form fields beside the file."""
        with file.open("rb") as source:
            answer = self._send(
                "POST", "/v1/datasets", files={"file": (file.name, source)}, data=fields
            )
        return DatasetRead.model_validate_json(answer.content)

    def datasets(self) -> Iterator[DatasetRead]:
        """All datasets, the newest first."""
        return self._pages("/v1/datasets", DatasetRead)

    def delete(self, kind: str, identifier: str) -> None:
        """Delete one of ``supernets``, ``datasets`` or ``searches``."""
        self._send("DELETE", f"/v1/{kind}/{identifier}")

    # -- searches ----------------------------------------------------------------------------

    def start_search(self, request: dict[str, Any]) -> SearchRead:
        """Submit a search; ``request`` is the body of ``POST /v1/searches``."""
        return SearchRead.model_validate_json(
            self._send("POST", "/v1/searches", json=request).content
        )

    def searches(self) -> Iterator[SearchRead]:
        """All searches, the newest first."""
        return self._pages("/v1/searches", SearchRead)

    def search(self, search_id: str) -> SearchRead:
        """One search."""
        return self._read(f"/v1/searches/{search_id}", SearchRead)

    def change(self, search_id: str, transition: Transition, **body: float) -> SearchRead:
        """Pause, resume, cancel, extend or retry a search; the body is that of the request."""
        path = f"/v1/searches/{search_id}/{transition}"
        return SearchRead.model_validate_json(self._send("POST", path, json=body or None).content)

    def events(self, search_id: str, after: int | None = None) -> Iterator[SearchEvent]:
        """What happens to a search until it is over, across lost connections.

        ``after`` is the id of the last event already seen; None begins now, 0 with the first.
        """
        reader, failures = EventReader(after), 0
        while not reader.is_over:
            try:
                with self._http.stream(
                    "GET",
                    f"/v1/searches/{search_id}/events",
                    headers=reader.headers,
                    timeout=SILENCE_SECONDS,
                ) as answer:
                    if answer.is_error:
                        answer.read()
                        raise ServerProblemError(_problem(answer))
                    if answer.status_code == 204:
                        return
                    for event in reader.read(answer.iter_lines()):
                        failures = 0
                        yield event
            except (httpx.TransportError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
                failures += 1
                if failures == TRIES or reader.last_id is None:
                    raise self._unreachable(error) from error
            if not reader.is_over:
                time.sleep(reader.retry_seconds)

    def evaluations(self, search_id: str) -> Iterator[EvaluationRead]:
        """All evaluations of a search, by number."""
        return self._pages(f"/v1/searches/{search_id}/evaluations", EvaluationRead, limit=500)

    def front(self, search_id: str, **bounds: float) -> FrontRead:
        """The Pareto front; ``bounds`` are filters such as ``max_gflops``."""
        answer = self._send("GET", f"/v1/searches/{search_id}/front", params=bounds)
        return FrontRead.model_validate_json(answer.content)

    def front_csv(self, search_id: str, **bounds: float) -> str:
        """The Pareto front as CSV, filtered alike."""
        path = f"/v1/searches/{search_id}/front"
        return self._send("GET", path, params={**bounds, "format": "csv"}).text

    def plot(self, search_id: str, kind: PlotKind, picture_format: PictureFormat) -> bytes:
        """A picture of a search, as the content of a file."""
        path = f"/v1/searches/{search_id}/plots/{kind.value}"
        return self._send("GET", path, params={"format": picture_format.value}).content

    def download_weights(
        self,
        search_id: str,
        number: int,
        weights_format: str,
        target: Path,
        on_bytes: Callable[[int, int], None] | None = None,
    ) -> Path:
        """Wait until a worker has built the weights, then download them to ``target``.

        ``on_bytes`` is told how many bytes of how many are there. A download that breaks off goes
        on where it stopped. The file appears under its name only when it is whole.
        """
        path = f"/v1/searches/{search_id}/subnets/{number}/weights"
        params = {"format": weights_format}
        while True:
            answer = self._send("GET", path, params=params, headers={"Range": "bytes=0-0"})
            if answer.status_code != 202:
                break
            time.sleep(float(answer.headers.get("Retry-After", "1")))
        etag = answer.headers["ETag"]
        partial = target.with_name(target.name + ".partial")
        partial.unlink(missing_ok=True)
        for attempt in range(TRIES):
            try:
                self._append(path, params, etag, partial, on_bytes)
                break
            except (httpx.TransportError, httpx.StreamError) as error:
                if attempt == TRIES - 1:
                    raise ServerUnreachableError(f"the download broke off: {error}") from error
        return partial.replace(target)

    def _append(
        self,
        path: str,
        params: dict[str, str],
        etag: str,
        partial: Path,
        on_bytes: Callable[[int, int], None] | None,
    ) -> None:
        """Fetch what ``partial`` lacks; If-Range starts over should the file have changed."""
        done = partial.stat().st_size if partial.exists() else 0
        headers = {"Range": f"bytes={done}-", "If-Range": etag} if done else {}
        with self._http.stream("GET", path, params=params, headers=headers) as answer:
            if answer.is_error:
                answer.read()
                raise ServerProblemError(_problem(answer))
            if answer.status_code == 200:
                done = 0
            total = done + int(answer.headers["Content-Length"])
            with partial.open("ab" if done else "wb") as file:
                for chunk in answer.iter_bytes(1 << 20):
                    file.write(chunk)
                    done += len(chunk)
                    if on_bytes is not None:
                        on_bytes(done, total)

    # -- plumbing ----------------------------------------------------------------------------

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **options)
        except (httpx.TransportError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise self._unreachable(error) from error
        if answer.is_error:
            raise ServerProblemError(_problem(answer))
        return answer

    def _unreachable(self, error: Exception) -> ServerUnreachableError:
        return ServerUnreachableError(
            f"no server answers at {self._server} ({error}); start one with "
            "'elasticnas serve', or name it with --server"
        )

    def _read(self, path: str, model: type[Read]) -> Read:
        return model.model_validate_json(self._send("GET", path).content)

    def _pages(self, path: str, model: Any, limit: int = 100) -> Iterator[Any]:
        cursor: str | None = None
        while True:
            params: dict[str, Any] = {"limit": limit}
            if cursor is not None:
                params["cursor"] = cursor
            content = self._send("GET", path, params=params).content
            page = Page[model].model_validate_json(content)
            yield from page.items
            if (cursor := page.next_cursor) is None:
                return


def _problem(answer: httpx.Response) -> Problem:
    """The problem document of an answer, or one made of it if a proxy answered instead."""
    try:
        return Problem.model_validate_json(answer.content)
    except ValidationError:
        return Problem(
            title="unexpected answer",
            status=answer.status_code,
            detail=f"{answer.status_code} {answer.reason_phrase} from {answer.url}",
        )
