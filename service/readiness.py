"""Whether this process can take work: the answer comes within a second, though a check hangs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from elasticnas.service import presence
from elasticnas.service.database_errors import DATABASE_ERRORS
from elasticnas.service.runtime import Service
from elasticnas.service.searches.coordinator_repository import count_alive

PATIENCE_SECONDS = 0.7
"""How long a probe waits for a check: probes give up after a second."""


@dataclass(frozen=True)
class Check:
    """One thing that the process needs. ``run`` returns what is wrong with it, or None."""

    name: str
    run: Callable[[], str | None]


@dataclass(frozen=True)
class Missing:
    """A check that found something wrong."""

    name: str
    reason: str


def checks_of(service: Service) -> list[Check]:
    """What a service needs to take work."""
    return [
        Check("database", lambda: _database(service)),
        Check("coordinator", lambda: _coordinator(service)),
    ]


def _database(service: Service) -> str | None:
    try:
        service.database.check()
    except Exception:
        return "the database does not answer"
    return None


def _coordinator(service: Service) -> str | None:
    """Of the coordinator inside this process, or of any other that keeps its row alive."""
    coordinator = service.coordinator
    if coordinator is None:
        try:
            with service.database.read() as session:
                return None if count_alive(session) else presence.NO_COORDINATOR
        except DATABASE_ERRORS:
            return None  # nobody knows; that the database does not answer is said by itself
    if not coordinator.is_alive:
        return "searches are not being driven"
    if coordinator.without_room:
        return "the database's disk is full"
    return None


class Readiness:
    """Runs each check in a thread of its own, one at a time, and does not wait long for it.

    A check that hangs counts as failed until it returns; meanwhile no other is begun, so that a
    frozen database costs one thread. The threads are daemons: none keeps the process from ending.
    """

    def __init__(self, checks: Sequence[Check], patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._checks = checks
        self._patience = patience_seconds
        self._running: dict[str, asyncio.Future[str | None]] = {}

    async def missing(self) -> list[Missing]:
        """What is wrong now, in the order of the checks."""
        reasons = await asyncio.gather(*(self._reason(check) for check in self._checks))
        return [
            Missing(check.name, reason)
            for check, reason in zip(self._checks, reasons, strict=True)
            if reason is not None
        ]

    async def _reason(self, check: Check) -> str | None:
        running = self._running.get(check.name)
        if running is None or running.done():
            running = self._running[check.name] = self._begin(check)
        try:
            return await asyncio.wait_for(asyncio.shield(running), self._patience)
        except TimeoutError:
            return f"the {check.name} does not answer"

    def _begin(self, check: Check) -> asyncio.Future[str | None]:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[str | None] = loop.create_future()

        def run() -> None:
            try:
                reason = check.run()
            except Exception as error:  # a check that fails is an answer too
                reason = f"the {check.name} cannot be checked: {type(error).__name__}"
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, outcome, reason)

        threading.Thread(target=run, name=f"check-{check.name}", daemon=True).start()
        return outcome


def _settle(outcome: asyncio.Future[str | None], reason: str | None) -> None:
    if not outcome.done():
        outcome.set_result(reason)
