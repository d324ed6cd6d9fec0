"""Whose evaluations are sent next, when there is room for some but not for all."""

from __future__ import annotations

from collections.abc import Mapping


class FairShare:
    """Shares the workers among searches in proportion to their weights.

    Start-time fair queueing (Goyal et al. 1996, "Start-time Fair Queuing"): every search has a
    virtual time, the worker seconds it was given over its weight; the search that lies furthest
    behind goes next. One that arrives, or comes back after having had nothing to send, starts at
    the present, and cannot claim the time it was away.
    """

    def __init__(self) -> None:
        self._times: dict[str, float] = {}
        self._now = 0.0

    def next(self, weights: Mapping[str, float]) -> str:
        """Which of the searches that have something to send goes next.

        Raises:
            ValueError: there is none.
        """
        chosen = min(weights, key=lambda search: (self._time(search), search))
        self._now = self._time(chosen)
        return chosen

    def charge(self, search: str, seconds: float, weight: float) -> None:
        """``search`` was given this many seconds of a worker."""
        self._times[search] = self._time(search) + seconds / weight

    def forget(self, search: str) -> None:
        """The search is over, or another process drives it."""
        self._times.pop(search, None)

    def _time(self, search: str) -> float:
        return max(self._times.get(search, 0.0), self._now)
