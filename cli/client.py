"""A typed client of the REST interface."""

from __future__ import annotations

import json
import math
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, RootModel, ValidationError

from elasticnas.api_schemas.costs import CostReport
from elasticnas.api_schemas.datasets import DatasetRead
from elasticnas.api_schemas.paging import Page
from elasticnas.api_schemas.plots import PictureFormat, PlotKind
from elasticnas.api_schemas.problems import InputError, Problem
from elasticnas.api_schemas.searches import EvaluationRead, FrontRead, SearchRead
from elasticnas.api_schemas.spaces import SpaceRead
from elasticnas.api_schemas.supernets import AnySupernet, SupernetPending, SupernetRead
from elasticnas.cli.event_stream import EventReader, SearchEvent
from elasticnas.cli.proxies import Proxy, proxy_for

Read = TypeVar("Read", bound=BaseModel)
ANY_SUPERNET = RootModel[AnySupernet]

DEFAULT_SERVER = "http://127.0.0.1:8000"
TRIES = 5
"""How often a download or stream that breaks off is taken up again where it stopped."""
SILENCE_SECONDS = 60.0
"""A stream of events that is silent for so long is lost: the server says something every 15 s."""
UPLOAD_TIMEOUT = httpx.Timeout(30.0, read=600.0)
"""An upload waits for a worker to read the checkpoint; nothing else takes long."""
WAITS = (0.2, 0.5, 1.0)
"""Seconds before each further try of a request that found no server, or lost its answer."""
MOST_WAITED = 60.0
"""Seconds that one request waits in all for a server that says when to come back."""
_UNDECODED = re.compile("[\udc80-\udcff]+")
"""Bytes of an argument that the locale's encoding does not know, as Python carries them."""

Transition = Literal["pause", "resume", "cancel", "extend", "retry"]

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)
"""What goes wrong before the server has seen anything of a request."""


class ServerProblemError(Exception):
    """The server refused a request; ``problem`` says why."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.detail)


class ServerUnreachableError(Exception):
    """No ElasticNAS server answers at this address, or a proxy before it does not."""


class Client:
    """Speaks to one server.

    A request is made again, a few times, where that cannot do its work twice: when it found no
    server, when the server said by Retry-After that it did nothing yet, and after a lost answer if
    it only reads, deletes, or carries an Idempotency-Key.

    Raises:
        InputError: ``server`` is no URL, or the proxy before it cannot be used.
        ServerProblemError: the server answered with a problem document.
        ServerUnreachableError: it did not answer at all, or something else answered.
    """

    def __init__(self, server: str = DEFAULT_SERVER) -> None:
        url = _server_url(server)
        self._server = server
        self._host = url.host
        self._proxy = proxy_for(url)
        self._http = httpx.Client(
            base_url=url,
            timeout=httpx.Timeout(30.0, read=120.0),
            transport=_transport(self._proxy, url.host),
        )

    def is_ready(self) -> bool:
        """True when the server can take work; asks once."""
        try:
            return self._http.get("/readyz").is_success
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

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
                files={"archive": (_unicode(archive.name), file)},
                data={} if name is None else {"name": _unicode(name)},
                timeout=UPLOAD_TIMEOUT,
            )
        if answer.status_code == 202:
            return self._read_supernet(answer, on_wait)
        return self._parsed(SupernetRead, answer)

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
        return self._pages("/v1/supernets", ANY_SUPERNET)

    def supernet(self, supernet_id: str) -> SupernetRead | SupernetPending:
        """One super-network."""
        return self._any_supernet(_path("supernets", supernet_id))

    def _any_supernet(self, path: str) -> SupernetRead | SupernetPending:
        return self._parsed(ANY_SUPERNET, self._send("GET", path)).root

    def space(self, supernet_id: str) -> SpaceRead:
        """Its search space."""
        return self._read(_path("supernets", supernet_id, "space"), SpaceRead)

    def cost(
        self, supernet_id: str, subnet: dict[str, int], max_length: int | None = None
    ) -> CostReport:
        """What a subnet costs."""
        answer = self._send(
            "POST",
            _path("supernets", supernet_id, "cost"),
            **_body({"subnet": subnet, "max_length": max_length}),
            is_repeatable=True,
        )
        return self._parsed(CostReport, answer)

    def add_dataset(self, file: Path, fields: dict[str, str]) -> DatasetRead:
        """Upload validation data; ``fields`` are the form fields beside the file."""
        with file.open("rb") as source:
            answer = self._send(
                "POST",
                "/v1/datasets",
                files={"file": (_unicode(file.name), source)},
                data={name: _unicode(value) for name, value in fields.items()},
                timeout=UPLOAD_TIMEOUT,
            )
        return self._parsed(DatasetRead, answer)

    def datasets(self) -> Iterator[DatasetRead]:
        """All datasets, the newest first."""
        return self._pages("/v1/datasets", DatasetRead)

    def delete(self, kind: str, identifier: str) -> None:
        """Delete one of ``supernets``, ``datasets`` or ``searches``."""
        try:
            self._send("DELETE", _path(kind, identifier))
        except _RepeatedProblemError as error:
            if error.problem.status != 404:  # gone by the first try, whose answer was lost
                raise

    # -- searches ----------------------------------------------------------------------------

    def start_search(self, request: dict[str, Any]) -> SearchRead:
        """Submit a search; ``request`` is the body of ``POST /v1/searches``.

        However often the request is made, it starts one search.
        """
        answer = self._send(
            "POST",
            "/v1/searches",
            **_body(request, {"Idempotency-Key": uuid.uuid4().hex}),
            is_repeatable=True,
        )
        return self._parsed(SearchRead, answer)

    def searches(self) -> Iterator[SearchRead]:
        """All searches, the newest first."""
        return self._pages("/v1/searches", SearchRead)

    def search(self, search_id: str) -> SearchRead:
        """One search."""
        return self._read(_path("searches", search_id), SearchRead)

    def change(self, search_id: str, transition: Transition, **body: float) -> SearchRead:
        """Pause, resume, cancel, extend or retry a search; the body is that of the request."""
        path = _path("searches", search_id, transition)
        return self._parsed(SearchRead, self._send("POST", path, **_body(body) if body else {}))

    def events(self, search_id: str, after: int | None = None) -> Iterator[SearchEvent]:
        """What happens to a search until it is over, across lost connections.

        ``after`` is the id of the last event already seen; None begins now, 0 with the first.
        """
        reader, failures = EventReader(after), 0
        while not reader.is_over:
            try:
                with self._http.stream(
                    "GET",
                    _path("searches", search_id, "events"),
                    headers=reader.headers,
                    timeout=SILENCE_SECONDS,
                ) as answer:
                    if answer.status_code == 204:
                        return
                    if answer.status_code != 200:
                        answer.read()
                        raise ServerProblemError(self._problem(answer))
                    for event in reader.read(answer.iter_lines()):
                        failures = 0
                        yield event
            except httpx.TransportError as error:
                failures += 1
                if failures == TRIES or reader.last_id is None:
                    raise self._unreachable(error) from error
            if not reader.is_over:
                time.sleep(reader.retry_seconds)

    def evaluations(self, search_id: str) -> Iterator[EvaluationRead]:
        """All evaluations of a search, by number."""
        return self._pages(_path("searches", search_id, "evaluations"), EvaluationRead, limit=500)

    def front(self, search_id: str, **bounds: float) -> FrontRead:
        """The Pareto front; ``bounds`` are filters such as ``max_gflops``."""
        answer = self._send("GET", _path("searches", search_id, "front"), params=bounds)
        return self._parsed(FrontRead, answer)

    def front_csv(self, search_id: str, **bounds: float) -> str:
        """The Pareto front as CSV, filtered alike."""
        path = _path("searches", search_id, "front")
        return self._send("GET", path, params={**bounds, "format": "csv"}).text

    def plot(self, search_id: str, kind: PlotKind, picture_format: PictureFormat) -> bytes:
        """A picture of a search, as the content of a file."""
        path = _path("searches", search_id, "plots", kind.value)
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
        path = _path("searches", search_id, "subnets", number, "weights")
        params = {"format": weights_format}
        while True:
            answer = self._send("GET", path, params=params, headers={"Range": "bytes=0-0"})
            if answer.status_code != 202:
                break
            time.sleep(_retry_after(answer) or 1.0)
        etag = answer.headers.get("ETag", "")
        partial = target.with_name(target.name + ".partial")
        partial.unlink(missing_ok=True)
        for attempt in range(TRIES):
            try:
                self._append(path, params, etag, partial, on_bytes)
                break
            except (httpx.TransportError, httpx.StreamError) as error:
                if attempt == TRIES - 1:
                    raise ServerUnreachableError(
                        f"the download broke off {TRIES} times: {_said(error)}"
                    ) from error
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
            if not answer.is_success:
                answer.read()
                raise ServerProblemError(self._problem(answer))
            if answer.status_code == 200:
                done = 0
            total = done + int(answer.headers.get("Content-Length", 0))
            with partial.open("ab" if done else "wb") as file:
                for chunk in answer.iter_bytes(1 << 20):
                    file.write(chunk)
                    done += len(chunk)
                    if on_bytes is not None:
                        on_bytes(done, total)

    # -- plumbing ----------------------------------------------------------------------------

    def _send(
        self, method: str, path: str, *, is_repeatable: bool = False, **options: Any
    ) -> httpx.Response:
        """One request, made again as the class says; ``is_repeatable`` is said of a POST."""
        is_repeatable = is_repeatable or method in ("GET", "DELETE")
        waits, waited, answer_was_lost = iter(WAITS), 0.0, False
        while True:
            try:
                answer = self._http.request(method, path, **options)
            except (httpx.TransportError, httpx.DecodingError) as error:
                was_sent = not isinstance(error, _NOT_SENT)
                wait = next(waits, None)
                hopeless = isinstance(error, httpx.ReadTimeout) or (was_sent and not is_repeatable)
                if wait is None or hopeless:
                    raise self._unreachable(error, was_sent=was_sent) from error
                answer_was_lost = answer_was_lost or was_sent
                time.sleep(wait)
                continue
            if answer.is_success:
                return answer
            pause = _retry_after(answer) if answer.status_code in (429, 503) else None
            if pause is None or waited + pause > MOST_WAITED:
                kind = _RepeatedProblemError if answer_was_lost else ServerProblemError
                raise kind(self._problem(answer))
            waited += pause
            time.sleep(pause)

    def _unreachable(self, error: Exception, *, was_sent: bool = False) -> ServerUnreachableError:
        said = _said(error)
        if self._proxy is not None:
            return ServerUnreachableError(
                f"the proxy {self._proxy.shown} ({self._proxy.origin}) does not let us through to "
                f"{self._server}: {said}; if the server needs no proxy, add {self._host} to "
                "NO_PROXY"
            )
        if was_sent:
            return ServerUnreachableError(
                f"the answer of {self._server} was lost ({said}); what was asked for may have "
                "been done: look before you ask again"
            )
        return ServerUnreachableError(
            f"no server answers at {self._server} ({said}); start one with "
            "'elasticnas serve', or name it with --server"
        )

    def _problem(self, answer: httpx.Response) -> Problem:
        """The problem document of an answer, or one made of it if something else answered."""
        try:
            return Problem.model_validate_json(answer.content)
        except ValidationError:
            between = f" through the proxy {self._proxy.shown}" if self._proxy else ""
            return Problem(
                title="unexpected answer",
                status=answer.status_code,
                detail=f"{answer.status_code} {answer.reason_phrase} from {answer.url}{between}: "
                "no answer of an ElasticNAS server; is --server right?",
            )

    def _parsed(self, model: type[Read], answer: httpx.Response) -> Read:
        try:
            return model.model_validate_json(answer.content)
        except ValidationError as error:
            raise ServerUnreachableError(
                f"the answer of {answer.url} is not understood: {_misfit(error)}; "
                "is it an ElasticNAS server, of this client's version?"
            ) from error

    def _read(self, path: str, model: type[Read]) -> Read:
        return self._parsed(model, self._send("GET", path))

    def _pages(self, path: str, model: Any, limit: int = 100) -> Iterator[Any]:
        cursor: str | None = None
        while True:
            params: dict[str, Any] = {"limit": limit}
            if cursor is not None:
                params["cursor"] = cursor
            answer = self._send("GET", path, params=params)
            page = self._parsed(Page[dict[str, Any]], answer)
            for item in page.items:
                try:
                    read = model.model_validate(item)
                    yield read.root if isinstance(read, RootModel) else read
                except ValidationError as error:
                    identity = item.get("id", item.get("number"))
                    print(f"{identity} is left out: {_misfit(error)}", file=sys.stderr)
            if (cursor := page.next_cursor) is None:
                return


class _RepeatedProblemError(ServerProblemError):
    """The answer to a request that may have been carried out once before."""


def _server_url(server: str) -> httpx.URL:
    try:
        url = httpx.URL(server)
        url.host.encode("idna")  # as a look-up does: no empty label, none over 63 characters
    except (httpx.InvalidURL, UnicodeError):
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise InputError(
            "this is no URL of a server",
            field="--server",
            value=server,
            remedy=f"write one such as {DEFAULT_SERVER}; ELASTICNAS_SERVER is read, too",
        )
    return url


def _transport(proxy: Proxy | None, host: str) -> httpx.HTTPTransport:
    try:
        return httpx.HTTPTransport(proxy=None if proxy is None else proxy.url)
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        assert proxy is not None
        reason = "it needs the package socksio" if isinstance(error, ImportError) else str(error)
        raise InputError(
            f"this proxy cannot be used: {reason}",
            field=proxy.origin,
            value=proxy.shown,
            remedy=f"add {host} to NO_PROXY if the server needs no proxy, "
            "or pip install 'httpx[socks]' for SOCKS",
        ) from error


def _path(*parts: object) -> str:
    """The path of a resource; what a user wrote for an id stays one segment of it."""
    segments = (quote(_unicode(str(part)), safe="", errors="replace") for part in parts)
    return "/v1/" + "/".join(segments)


def _body(content: Any, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """The options of a request with a JSON body.

    Raises:
        InputError: a number in it is infinite or none, for which JSON has no word.
    """
    _demand_finite(content, "")
    text = _unicode(json.dumps(content, ensure_ascii=False))
    return {
        "content": json.dumps(json.loads(text)).encode(),
        "headers": {"Content-Type": "application/json", **(headers or {})},
    }


def _demand_finite(content: Any, place: str) -> None:
    if isinstance(content, float) and not math.isfinite(content):
        raise InputError("this must be a finite number", field=place, value=content)
    if isinstance(content, dict | list):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in items:
            _demand_finite(value, f"{place}/{key}".removeprefix("/"))


def _unicode(text: str) -> str:
    """A text of the command line as it was typed, under a locale that is not UTF-8 too."""
    return _UNDECODED.sub(
        lambda found: found[0].encode("ascii", "surrogateescape").decode("utf-8", "replace"), text
    )


def _misfit(error: ValidationError) -> str:
    """The first thing in an answer that is not what this client knows."""
    first = error.errors()[0]
    place = "/".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]


def _retry_after(answer: httpx.Response) -> float | None:
    """Seconds until the server wants to be asked again: Retry-After, in seconds or as a date."""
    value = answer.headers.get("Retry-After")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _said(error: Exception) -> str:
    """What an exception says, or at least what it is: a time-out says nothing."""
    return str(error) or type(error).__name__
