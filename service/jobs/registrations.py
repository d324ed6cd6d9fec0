"""Registrations of super-networks as jobs of one step, derived from the super-networks.

A registration has the id of its super-network. Its events are not kept: each attempt to read the
checkpoint has two, that it was begun and how it ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from elasticnas.api_schemas.jobs import (
    JobEventKind,
    JobKind,
    JobProgressEvent,
    JobRead,
    JobState,
    JobStateEvent,
    StepProgress,
    StepRead,
)
from elasticnas.api_schemas.overview import OverviewState, ThingKind
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.supernets import SupernetState
from elasticnas.service.overview import events as overview
from elasticnas.service.streaming.feed import Snapshot
from elasticnas.service.supernets.tables import SupernetRow

STEP = "read"
JOB_STATES = {
    SupernetState.READING: JobState.RUNNING,
    SupernetState.READY: JobState.COMPLETED,
    SupernetState.FAILED: JobState.FAILED,
}


@dataclass(frozen=True)
class RegistrationEvent:
    """One event of a registration; see `EventRow`."""

    number: int
    kind: str
    data: dict[str, Any]


def states(of_jobs: Sequence[JobState] | None) -> list[SupernetState]:
    """The states of super-networks whose registration is in one of these of a job; None: any."""
    return [each for each, as_job in JOB_STATES.items() if not of_jobs or as_job in of_jobs]


def job_read(row: SupernetRow, waiting_for: str | None) -> JobRead:
    """A registration as REST shows it."""
    state = _state(row)
    step = StepRead(
        name=STEP,
        state=state,
        progress=_progress(row),
        worker=None,
        attempt=row.attempt,
        saved_at=row.created_at,
        started_at=row.sent_at,
        finished_at=row.read_at,
    )
    return JobRead(
        id=row.id,
        kind=JobKind.REGISTRATION,
        name=row.name,
        recipe=None,
        settings={},
        dataset_id=None,
        state=state,
        steps=[step],
        waiting_for=None if state.is_final else waiting_for,
        supernet_id=row.id,
        problem=_problem(row),
        created_at=row.created_at,
        started_at=row.sent_at,
        finished_at=row.read_at,
    )


def snapshot(row: SupernetRow) -> Snapshot:
    """A registration as its streams of events see it."""
    state = _state(row)
    progress = JobProgressEvent(state=state, step=STEP, progress=_progress(row))
    return Snapshot(state.is_final, _last_event(row), progress)


def events(row: SupernetRow, after: int) -> list[RegistrationEvent]:
    """The events with numbers beyond ``after``."""
    return [_event(row, number) for number in range(after + 1, _last_event(row) + 1)]


def tell_owner(session: Session, row: SupernetRow, state: str | None = None) -> None:
    """The owner's stream says which state a registration is in, if not the row's."""
    overview.tell(
        session,
        row.owner,
        OverviewState(
            kind=ThingKind.JOB,
            id=row.id,
            name=row.name,
            state=state or _state(row),
            supernet_id=row.id,
            problem=_problem(row),
        ),
    )


def _event(row: SupernetRow, number: int) -> RegistrationEvent:
    is_latest = number == _last_event(row)
    begun = (
        JobState.RUNNING if number % 2 else JobState.FAILED
    )  # the last attempt alone may succeed
    state = _state(row) if is_latest else begun
    event = JobStateEvent(
        state=state,
        step=STEP,
        step_state=state,
        attempt=(number + 1) // 2,
        supernet_id=row.id,
        problem=_problem(row) if is_latest else None,
    )
    return RegistrationEvent(number, JobEventKind.STATE, event.model_dump(mode="json"))


def _last_event(row: SupernetRow) -> int:
    return 2 * row.attempt - (row.state == SupernetState.READING)


def _state(row: SupernetRow) -> JobState:
    return JOB_STATES[SupernetState(row.state)]


def _progress(row: SupernetRow) -> StepProgress:
    return StepProgress(done=int(row.state == SupernetState.READY), total=1)


def _problem(row: SupernetRow) -> Problem | None:
    return None if row.problem is None else Problem.model_validate(row.problem)
