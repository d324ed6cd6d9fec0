"""Requests to one server: which are made again, and what becomes of their answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx2
from pydantic import BaseModel, RootModel, ValidationError

from elasticnas.api_schemas.paging import Page
from elasticnas.api_schemas.problems import InputError, Problem
from elasticnas.client.errors import (
    RepeatedProblemError,
    ServerProblemError,
    ServerUnreachableError,
)
from elasticnas.client.proxies import Proxy, proxy_for

log = logging.getLogger(__name__)

Read = TypeVar("Read", bound=BaseModel)

DEFAULT_SERVER = "http://127.0.0.1:8000"
TRIES = 5
"""How often a download or stream that breaks off is taken up again where it stopped."""
WAITS = (0.2, 0.5, 1.0)
"""Seconds before each further try of a request that found no server, or lost its answer."""
MOST_WAITED = 60.0
"""Seconds that one request waits in all for a server that says when to come back."""

_NOT_SENT = (
    *(httpx2.ConnectError, httpx2.ConnectTimeout),
    *(httpx2.ProxyError, httpx2.UnsupportedProtocol),
)
"""What goes wrong before the server has seen anything of a request."""


class Connection:
    """Sends requests to one server, straight or through a proxy of the environment.

    ``transport`` stands in for the network, in tests.

    Raises:
        InputError: ``server`` is no URL, or the proxy before it cannot be used.
    """

    def __init__(self, server: str, transport: httpx2.BaseTransport | None = None) -> None:
        url = _server_url(server)
        self._server = server
        self._host = url.host
        self._proxy = proxy_for(url)
        self._http = httpx2.Client(
            base_url=url,
            timeout=httpx2.Timeout(30.0, read=120.0),
            transport=transport or _transport(self._proxy, url.host),
        )

    def close(self) -> None:
        """Close what is open to the server."""
        self._http.close()

    def answers_well(self, path: str) -> bool:
        """Whether a path answers with success; asks once.

        Raises:
            ServerUnreachableError: it does not answer.
        """
        try:
            return self._http.get(path).is_success
        except httpx2.TransportError as error:
            raise self.unreachable(error) from error

    def send(
        self, method: str, path: str, *, is_repeatable: bool = False, **options: Any
    ) -> httpx2.Response:
        """One request, made again where that cannot do its work twice; see `Client`.

        ``is_repeatable`` is said of a POST.

        Raises:
            ServerProblemError: the server answered with a problem document.
            ServerUnreachableError: it did not answer.
        """
        is_repeatable = is_repeatable or method in ("GET", "DELETE")
        waits, waited, answer_was_lost = iter(WAITS), 0.0, False
        while True:
            try:
                answer = self._http.request(method, path, **options)
            except (httpx2.TransportError, httpx2.DecodingError) as error:
                was_sent = not isinstance(error, _NOT_SENT)
                wait = next(waits, None)
                hopeless = isinstance(error, httpx2.ReadTimeout) or (was_sent and not is_repeatable)
                if wait is None or hopeless:
                    raise self.unreachable(error, was_sent=was_sent) from error
                answer_was_lost = answer_was_lost or was_sent
                time.sleep(wait)
                continue
            if answer.is_success:
                return answer
            pause = retry_after(answer) if answer.status_code in (429, 503) else None
            if pause is None or waited + pause > MOST_WAITED:
                kind = RepeatedProblemError if answer_was_lost else ServerProblemError
                raise kind(self._problem(answer))
            waited += pause
            time.sleep(pause)

    @contextmanager
    def stream(self, path: str, **options: Any) -> Iterator[httpx2.Response]:
        """An answer whose content is still to be read; asks once.

        Raises:
            ServerProblemError: the server answered with a problem document.
            httpx2.TransportError: it did not answer, or the answer broke off.
        """
        with self._http.stream("GET", path, **options) as answer:
            if not answer.is_success:
                answer.read()
                raise ServerProblemError(self._problem(answer))
            yield answer

    def read(self, path: str, model: type[Read]) -> Read:
        """The resource at a path."""
        return self.parsed(model, self.send("GET", path))

    def pages(
        self, path: str, model: Any, limit: int = 100, params: Mapping[str, Any] | None = None
    ) -> Iterator[Any]:
        """All items of a list, page by page; one that is not understood is left out, and logged."""
        cursor: str | None = None
        while True:
            asked: dict[str, Any] = {"limit": limit, **(params or {})}
            if cursor is not None:
                asked["cursor"] = cursor
            answer = self.send("GET", path, params=asked)
            page = self.parsed(Page[dict[str, Any]], answer)
            for item in page.items:
                try:
                    read = model.model_validate(item)
                    yield read.root if isinstance(read, RootModel) else read
                except ValidationError as error:
                    identity = item.get("id", item.get("number"))
                    log.warning("%s is left out: %s", identity, _misfit(error))
            if (cursor := page.next_cursor) is None:
                return

    def parsed(self, model: type[Read], answer: httpx2.Response) -> Read:
        """The content of an answer.

        Raises:
            ServerUnreachableError: it is none of an ElasticNAS server.
        """
        try:
            return model.model_validate_json(answer.content)
        except ValidationError as error:
            raise ServerUnreachableError(
                f"the answer of {answer.url} is not understood: {_misfit(error)}; "
                "is it an ElasticNAS server, of this client's version?"
            ) from error

    def unreachable(self, error: Exception, *, was_sent: bool = False) -> ServerUnreachableError:
        """What to tell of a request without an answer, and what to do about it."""
        what = said(error)
        if self._proxy is not None:
            return ServerUnreachableError(
                f"the proxy {self._proxy.shown} ({self._proxy.origin}) does not let us through to "
                f"{self._server}: {what}; if the server needs no proxy, add {self._host} to "
                "NO_PROXY"
            )
        if was_sent:
            return ServerUnreachableError(
                f"the answer of {self._server} was lost ({what}); what was asked for may have "
                "been done: look before you ask again"
            )
        return ServerUnreachableError(
            f"no server answers at {self._server} ({what}); start one with "
            "'elasticnas serve', or name it with --server"
        )

    def _problem(self, answer: httpx2.Response) -> Problem:
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


def retry_after(answer: httpx2.Response) -> float | None:
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


def said(error: Exception) -> str:
    """What an exception says, or at least what it is: a time-out says nothing."""
    return str(error) or type(error).__name__


def _server_url(server: str) -> httpx2.URL:
    try:
        url = httpx2.URL(server)
        url.host.encode("idna")  # as a look-up does: no empty label, none over 63 characters
    except (httpx2.InvalidURL, UnicodeError):
        url = httpx2.URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise InputError(
            "this is no URL of a server",
            field="--server",
            value=server,
            remedy=f"write one such as {DEFAULT_SERVER}; ELASTICNAS_SERVER is read, too",
        )
    return url


def _transport(proxy: Proxy | None, host: str) -> httpx2.HTTPTransport:
    try:
        return httpx2.HTTPTransport(proxy=None if proxy is None else proxy.url)
    except (ValueError, ImportError, httpx2.InvalidURL) as error:
        assert proxy is not None
        reason = "it needs the package socksio" if isinstance(error, ImportError) else str(error)
        raise InputError(
            f"this proxy cannot be used: {reason}",
            field=proxy.origin,
            value=proxy.shown,
            remedy=f"add {host} to NO_PROXY if the server needs no proxy, "
            "or pip install 'httpx2[socks]' for SOCKS",
        ) from error


def _misfit(error: ValidationError) -> str:
    """The first thing in an answer that is not what this client knows."""
    first = error.errors()[0]
    place = "/".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]
