"""The last lines that were logged over a piece of work, for the problem it may end with."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

CHARACTERS = 8000
"""So much of the log at most goes with a problem."""
_FORMAT = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")


class LogTail(logging.Handler):
    """Keeps the last lines of each thread that does work, from the beginning of that work on.

    A worker does one thing after the other for whoever asks: what it logged for others, or in other
    threads, is not among them. Tracebacks are left out, for a problem has its own.
    """

    def __init__(self, characters: int = CHARACTERS) -> None:
        super().__init__()
        self._characters = characters
        self._of_thread = threading.local()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Keep what this thread logs; nothing of it is left afterwards."""
        root = logging.getLogger()
        if not root.handlers:
            # Ours would be the only one, and keep Python from writing warnings to stderr.
            logging.basicConfig()
        if self not in root.handlers:
            root.addHandler(self)
        self._of_thread.lines = deque()
        try:
            yield
        finally:
            del self._of_thread.lines

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, and drop the oldest that there is no room for."""
        lines: deque[str] | None = getattr(self._of_thread, "lines", None)
        if lines is None:
            return
        record.asctime = _FORMAT.formatTime(record)
        record.message = record.getMessage()
        lines.append(_FORMAT.formatMessage(record)[-self._characters :])
        while sum(len(line) + 1 for line in lines) > self._characters + 1:
            lines.popleft()

    def read(self) -> str | None:
        """What this thread has logged last; None where nothing was, or nothing is kept."""
        return "\n".join(getattr(self._of_thread, "lines", ())) or None


TAIL = LogTail()
"""That of this process."""
