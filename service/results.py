"""Where the results of workers go."""

from __future__ import annotations

import logging

from api_schemas.messages import (
    Result,
    SubnetExported,
    SubnetsEvaluated,
    SubnetsStarted,
    SupernetInspected,
    WorkerAlive,
)
from api_schemas.problems import InputError, Problem
from service.database import Database
from service.exports import repository as exports
from service.http.errors import input_problem
from service.http.problems import problem
from service.searches.coordinator import Coordinator
from service.supernets import repository as supernets
from service.supernets.reading import summarise
from service.workers import repository as workers

log = logging.getLogger(__name__)


class Recorder:
    """Records each result in a transaction of its own; taking one twice changes nothing."""

    def __init__(self, database: Database, coordinator: Coordinator) -> None:
        self._database = database
        self._coordinator = coordinator

    def record(self, result: Result) -> None:
        """Record one result. A result that cannot be recorded is logged and dropped: whoever
        waits for it asks again when its lease has passed."""
        try:
            self._record(result)
        except Exception:
            log.exception("a result of kind %s could not be recorded", result.kind)

    def _record(self, result: Result) -> None:
        match result:
            case SubnetsStarted():
                self._coordinator.subnets_started(result)
            case SubnetsEvaluated():
                self._coordinator.subnets_evaluated(result)
            case SupernetInspected():
                self._inspected(result)
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
