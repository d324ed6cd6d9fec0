"""uvicorn, with streams that do not hold up its end."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import FrameType

import uvicorn


class Server(uvicorn.Server):
    """Calls ``before_shutdown`` when told to stop, before it waits for open responses.

    ``on_signal`` is called by the signal's handler itself, also while the application starts and
    when the event loop hangs.

    uvicorn tells the application of a shutdown only after every response has ended, and an event
    stream ends only when it is told.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        before_shutdown: Callable[[], None],
        on_signal: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(config)
        self._before_shutdown = before_shutdown
        self._on_signal = on_signal

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The process was told to stop."""
        self._on_signal()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, and wait for the open ones."""
        self._before_shutdown()
        await super().shutdown(sockets)
