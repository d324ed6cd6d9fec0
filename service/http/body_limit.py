"""A limit on the size of request bodies."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from elasticnas.service.http.errors import answer
from elasticnas.service.http.problems import ProblemError, problem


class BodyLimit:
    """Answers 413 as soon as a body is known to exceed what ``limit`` allows such a request.

    A declared length is refused before anything is read; an undeclared one is counted as it
    streams in, and refused from inside the endpoint that reads it. (FastAPI's own
    ``max_body_size`` answers in plain text.)
    """

    def __init__(self, app: ASGIApp, limit: Callable[[Scope], int]) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting what is read of its body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit(scope)
        document = problem("too-large", f"the body exceeds this server's limit of {limit} bytes")
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            await answer(document, instance=scope["path"])(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > limit:
                raise ProblemError(document)
            return message

        await self._app(scope, counted, send)
