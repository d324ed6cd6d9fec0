"""Giving the steps of jobs to workers, and noticing when one of them is lost.

The database is the truth: a step's row says which attempt counts and where it was last saved. What
is sent in its place is another attempt, from there; whatever the earlier one still reports is
dropped, and the worker that is at it is told to stop.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from elasticnas.api_schemas.finetuning import ChosenSubnet
from elasticnas.api_schemas.jobs import JobState
from elasticnas.api_schemas.messages import RunStep, TrainingRows, step_key
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.supernets import SupernetState
from elasticnas.service.database import clock
from elasticnas.service.datasets import repository as datasets
from elasticnas.service.http.problems import problem
from elasticnas.service.jobs import recording, repository
from elasticnas.service.jobs.tables import JobRow, StepRow
from elasticnas.service.runtime import Service
from elasticnas.service.supernets import repository as supernets
from elasticnas.service.workers import repository as workers

SENDING = timedelta(seconds=30)
"""How long a process may take from writing down that it sends a message until it is sent."""


@dataclass(frozen=True)
class Look:
    """What the processes are at, at one moment of the database's clock.

    ``held`` are the attempts that living workers are at, None while too little was heard of
    workers to tell; ``outlives`` says that the queue outlives the processes that use it.
    """

    moment: datetime
    generation: str
    held: Collection[str] | None
    silence: timedelta
    outlives: bool

    def must_send(self, step: StepRow) -> bool:
        """Whether nobody is at a step, nor about to be."""
        in_this_queue = step.sent_generation == self.generation
        if step.sent_at is None:
            return True
        if step.state == JobState.QUEUED:
            is_sent = step.sent_generation is not None
            return not in_this_queue if is_sent else self.moment - step.sent_at > SENDING
        if not self.outlives and not in_this_queue:
            return True  # its worker was a part of the process that is gone
        return self.held is not None and self._is_silent(step)

    def _is_silent(self, step: StepRow) -> bool:
        key = step_key(step.job_id, step.position, step.attempt)
        last = step.heard_at or step.sent_at
        return (
            key not in (self.held or ())
            and last is not None
            and (self.moment - last > self.silence)
        )


def drive(service: Service, *, listens: bool) -> None:
    """Send the steps that a worker must be asked for, and end the jobs that are done.

    ``listens`` says that workers were listened to for long enough to know which are gone.

    Raises:
        QueueUnavailableError: the broker cannot be reached; this must be called again.
    """
    with service.database.read() as session:
        if not (unfinished := repository.unfinished(session)):
            return
        look = _look(service, session, listens=listens)
    for job, step in unfinished:
        if job.supernet_id is not None or look.must_send(step):
            with service.database.write() as session:
                message = _attend(session, job.id, look)
            if message is not None:
                service.queue.send(message)
                with service.database.write() as session:
                    repository.mark_sent(session, message, look.generation)


def _look(service: Service, session: Session, *, listens: bool) -> Look:
    alive = workers.alive(session, service.silence)
    return Look(
        moment=clock(session),
        generation=service.queue.generation(),
        held={key for worker in alive for key in worker.evaluating} if listens else None,
        silence=service.silence,
        outlives=service.queue.outlives,
    )


def _attend(session: Session, job_id: str, look: Look) -> RunStep | None:
    """What must be sent for a job, decided while no other process changes it."""
    job = repository.locked(session, job_id)
    if job is None or JobState(job.state).is_final:
        return None
    step = repository.step(session, job)
    if job.supernet_id is not None:
        _conclude(session, job, step, job.supernet_id)
        return None
    if not look.must_send(step):
        return None
    if step.state == JobState.RUNNING:
        recording.note_death(session, job, step, _worker_died(step))
        if JobState(job.state).is_final:
            return None
    step.attempt += 1
    step.sent_at, step.sent_generation = clock(session), None
    return _message(session, job, step)


def _message(session: Session, job: JobRow, step: StepRow) -> RunStep:
    dataset = datasets.by_id(session, job.dataset_id)
    chosen = None if job.chosen is None else ChosenSubnet.model_validate(job.chosen)
    rows = dataset.digest if chosen is None else chosen.rows
    source = job.base_digest
    if step.position:
        source = repository.step(session, job, before=1).output or source
    names = dataset.label_names
    return RunStep(
        job_id=job.id,
        position=step.position,
        attempt=step.attempt,
        recipe=job.recipe,
        step=step.name,
        settings=job.settings,
        source=source,
        rows=TrainingRows(
            digest=rows,
            task=dataset.task,
            num_labels=dataset.num_labels if names is None else len(names),
            label_names=names if rows == dataset.digest else None,
        ),
        saved=step.saved,
        chosen=chosen,
    )


def _conclude(session: Session, job: JobRow, step: StepRow, supernet_id: str) -> None:
    """A job is over once a worker has read the super-network that it made."""
    row = supernets.by_id(session, supernet_id)
    if row is None:
        why = problem("step-failed", f"super-network {supernet_id}, its result, was deleted")
        recording.end(session, job, step, JobState.FAILED, why)
    elif row.state == SupernetState.READY:
        recording.end(session, job, step, JobState.COMPLETED)
    elif row.state == SupernetState.FAILED:
        why = Problem.model_validate(row.problem)
        recording.end(session, job, step, JobState.FAILED, why)


def _worker_died(step: StepRow) -> Problem:
    return problem(
        "step-failed",
        f"{recording.MOST_DEATHS} workers died over step {step.name} before it reached a save "
        f"point, the last of them {step.worker}; their logs may say why",
    )
