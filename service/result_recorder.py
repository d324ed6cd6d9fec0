"""Where the results of workers go."""

from __future__ import annotations

import logging
from collections.abc import Callable

from elasticnas.api_schemas.messages import (
    Result,
    StepReported,
    SubnetExported,
    SubnetsDeclined,
    SubnetsEvaluated,
    SubnetsStarted,
    SubnetsVerified,
    SupernetInspected,
    WorkerAlive,
)
from elasticnas.api_schemas.problems import InputError, Problem
from elasticnas.service.database import Database
from elasticnas.service.database_errors import DATABASE_ERRORS, is_transient, summary
from elasticnas.service.exports import repository as exports
from elasticnas.service.http.errors import input_problem
from elasticnas.service.http.problems import problem
from elasticnas.service.jobs import recording as jobs
from elasticnas.service.queue import NotRecordedError
from elasticnas.service.searches import inbox
from elasticnas.service.signals import Halt
from elasticnas.service.supernets import repository as supernets
from elasticnas.service.supernets.views import summarise
from elasticnas.service.workers import repository as workers

log = logging.getLogger(__name__)


class Recorder:
    """Records each result in a transaction of its own; taking one twice changes nothing.

    ``wake`` has the coordinator look at what was written down of evaluations; ``halt`` tells a
    worker that nobody wants an attempt at a step any more.
    """

    def __init__(
        self, database: Database, wake: Callable[[], None], halt: Callable[[str, Halt], None]
    ) -> None:
        self._database = database.patient
        self._wake = wake
        self._halt = halt

    def record(self, result: Result) -> None:
        """Record one result.

        Raises:
            NotRecordedError: the database is away, read-only or full; the result must be offered
                again.
        """
        try:
            self._record(result)
        except Exception as error:
            if isinstance(error, DATABASE_ERRORS) and is_transient(error):
                raise NotRecordedError(summary(error)) from error
            # A fault of ours: offering it again would not help.
            log.exception("a result of kind %s could not be recorded", result.kind)

    def _record(self, result: Result) -> None:
        match result:
            case SubnetsStarted():
                with self._database.write() as session:
                    inbox.started(session, result)
            case SubnetsEvaluated():
                with self._database.write() as session:
                    inbox.evaluated(session, result)
                self._wake()
            case SubnetsVerified():
                with self._database.write() as session:
                    inbox.verified(session, result)
                self._wake()
            case SubnetsDeclined():
                with self._database.write() as session:
                    inbox.declined(session, result)
                self._wake()
            case SupernetInspected():
                self._inspected(result)
            case StepReported():
                with self._database.write() as session:
                    is_wanted = jobs.record(session, result)
                if not is_wanted:
                    self._halt(result.key, "ended")
            case SubnetExported():
                with self._database.write() as session:
                    exports.record(session, result)
            case WorkerAlive():
                with self._database.write() as session:
                    workers.record(session, result)

    def _inspected(self, result: SupernetInspected) -> None:
        rejection: Problem | None = result.problem
        summary = None
        if result.report is not None:
            try:
                summary = summarise(result.report)
            except InputError as error:
                rejection = input_problem(error, "invalid-checkpoint")
        elif rejection is None:
            rejection = problem("invalid-checkpoint", "the worker gave no reason")
        with self._database.write() as session:
            if result.report is not None and summary is not None:
                supernets.record_report(session, result.supernet_id, result.report, summary)
            elif rejection is not None:
                supernets.record_rejection(session, result.supernet_id, rejection)
