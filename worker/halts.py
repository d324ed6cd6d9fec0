"""Whether a search is still wanted, asked often and looked up now and then."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Literal

from elasticnas.worker.broker_errors import BROKER_ERRORS
from elasticnas.worker.signals import WorkSignals

LOOK_SECONDS = 0.25


class HaltWatch:
    """Looks up at most every `LOOK_SECONDS` whether a search is halted.

    While the broker does not answer, what was known last holds.
    """

    def __init__(self, signals: WorkSignals, search_id: str) -> None:
        self._signals = signals
        self._search_id = search_id
        self._looked = float("-inf")
        self._known: Literal["paused", "ended"] | None = None

    @property
    def halted(self) -> Literal["paused", "ended"] | None:
        """How the search is halted, or None."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            with suppress(*BROKER_ERRORS):
                self._known = self._signals.halted(self._search_id)
        return self._known

    def has_ended(self) -> bool:
        """True when nobody waits for results of this search."""
        return self.halted == "ended"
