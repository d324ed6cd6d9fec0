"""What a worker hears and says beside the queue."""

from __future__ import annotations

from typing import Literal, Protocol


class WorkSignals(Protocol):
    """Small, short-lived facts; the process that starts a worker brings the implementation.

    A delivery is one evaluation in one of the messages that carried it.
    """

    def halted(self, search_id: str) -> Literal["paused", "ended"] | None:
        """Whether evaluations of a search may not begin (paused), or are of no use (ended)."""
        ...

    def begin(self, delivery: str) -> int:
        """This worker begins a delivery; how often any worker did, this time included.

        Those that finished it are not counted: so it is one more than have died over it.
        """
        ...

    def finish(self, delivery: str) -> None:
        """The delivery's result has been sent, or nobody wants it: this worker has not died."""
        ...

    def is_finished(self, delivery: str) -> bool:
        """Whether some worker has sent the delivery's result."""
        ...

    def heads(self) -> dict[str, str | None]:
        """Every lane in use, and what identifies the message at its head; None if it is empty."""
        ...
