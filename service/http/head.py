"""HEAD on every address that takes GET."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadAsGet:
    """Answers HEAD with the headers of GET, and ends there (RFC 9110, 9.3.2).

    To the application it is a GET from a client that goes away once it has the headers: an event
    stream ends at once. A file is not read, because the server seems to send it by its path.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, a HEAD as a GET."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        answered = asyncio.Event()

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                answered.set()

        async def receive_end() -> Message:
            await answered.wait()
            return {"type": "http.disconnect"}

        await self._app(_as_get(scope), receive_end, send_head)


def _as_get(scope: Scope) -> Scope:
    """The scope of the same GET. Range means something for GET alone."""
    return {
        **scope,
        "method": "GET",
        "headers": [(name, value) for name, value in scope["headers"] if name != b"range"],
        # Before 2.4 a response listens for the client's going away.
        "asgi": {**scope.get("asgi", {}), "spec_version": "2.3"},
        "extensions": {**(scope.get("extensions") or {}), "http.response.pathsend": {}},
    }
