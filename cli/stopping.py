"""A process that is told to stop ends within its grace, even where something in it hangs."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
import time

log = logging.getLogger(__name__)

LEFT_BEHIND = 1
"""The exit status of a process in which something hung when it was told to stop."""


class Deadline:
    """Ends the process at a moment that can be brought forward, never put off.

    What is left behind is a transaction that the database rolls back, a message that the broker
    hands to another process, or a request that its client repeats. The stacks of the threads that
    hang are written to standard error.
    """

    def __init__(self) -> None:
        self._at: float | None = None
        self._changed = threading.Condition()

    def within(self, seconds: float) -> None:
        """The process ends in so many seconds, unless it does so by itself before.

        Called by signal handlers too, so nothing is locked on the calling thread: it may hold the
        lock already.
        """
        at = time.monotonic() + seconds
        threading.Thread(target=self._end_at, args=(at,), daemon=True).start()

    def _end_at(self, at: float) -> None:
        with self._changed:
            is_first = self._at is None
            self._at = at if self._at is None else min(at, self._at)
            self._changed.notify()
            while is_first and (left := self._at - time.monotonic()) > 0:
                self._changed.wait(left)
        if is_first:
            log.error("told to stop, and something still hangs: it is left behind")
            faulthandler.dump_traceback(sys.__stderr__ or 2)
            os._exit(LEFT_BEHIND)
