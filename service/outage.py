"""Saying once that something is away, and once that it is back."""

from __future__ import annotations

import logging
import threading
import time

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 5.0


class Outage:
    """What one user of a database or queue says of it, however often it tries in vain."""

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log = log
        self._what = what
        self._lock = threading.Lock()
        self._since: float | None = None
        self._fault: type[Exception] | None = None
        self._pause = FIRST_PAUSE_SECONDS

    def goes_on(self, reason: object, *, fault: Exception | None = None) -> float:
        """It did not answer, for this reason; how many seconds to wait before the next try.

        The traceback of ``fault`` is logged the first time, and when it is of another kind.
        """
        with self._lock:
            is_new = fault is not None and type(fault) is not self._fault
            self._fault = self._fault if fault is None else type(fault)
            if self._since is None or is_new:
                self._since = self._since or time.monotonic()
                self._pause = FIRST_PAUSE_SECONDS
                self._log.warning("%s: %s; this is tried again", self._what, reason, exc_info=fault)
            else:
                self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
            return self._pause

    def is_over(self) -> None:
        """It has answered."""
        with self._lock:
            if self._since is not None:
                seconds = time.monotonic() - self._since
                self._since = self._fault = None
                self._log.info("%s: this works again, after %.1f s", self._what, seconds)
