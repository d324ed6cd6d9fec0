"""Sending a blob to a client."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from fastapi.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from elasticnas.service.http.errors import answer
from elasticnas.service.http.problems import problem


class LeasedFile(FileResponse):
    """A `FileResponse` whose blob stays readable until the last byte is sent, or the client goes.

    The blob is fetched as this is made, so make it in a worker thread.

    Raises:
        BlobError: the blob cannot be had.
    """

    def __init__(
        self,
        lease: AbstractContextManager[Path],
        *,
        media_type: str,
        filename: str,
        headers: dict[str, str],
    ) -> None:
        with ExitStack() as leased:
            path = leased.enter_context(lease)
            super().__init__(path, media_type=media_type, filename=filename, headers=headers)
            self._leased = leased.pop_all()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, or the part of it that is asked for, or a problem with that part."""
        refused = False

        async def send_or_refuse(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] in (400, 416):
                refused = True
                document = problem(
                    "invalid-range",
                    "the file has no such range of bytes; leave out the Range header for all of it",
                    status=message["status"],
                )
                response = answer(document, instance=scope["path"])
                response.raw_headers.extend(
                    pair for pair in message["headers"] if pair[0] == b"content-range"
                )
                await response(scope, receive, send)
            elif not refused:
                await send(message)

        with self._leased:
            await super().__call__(scope, receive, send_or_refuse)
