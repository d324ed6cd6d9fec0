"""A running job in the terminal: a bar for each of its steps, with what the step watches."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.progress import TaskID

from elasticnas.api_schemas.jobs import (
    JobEventKind,
    JobProgressEvent,
    JobRead,
    JobScalarsEvent,
    JobStateEvent,
)
from elasticnas.cli.step_bars import step_bars
from elasticnas.client import Client, JobEvent


def watch(client: Client, job_id: str, console: Console) -> JobRead:
    """Show a job until it is over; returns it as it ended.

    On something that is not a terminal there is a line for each state and each event of scalars.
    """
    job = client.job(job_id)
    if not job.state.is_final:
        lacks = "" if job.waiting_for is None else f", waiting for {job.waiting_for}"
        console.print(f"job {job.id} is {job.state.value}{lacks}", soft_wrap=True, markup=False)
        if console.is_terminal:
            _show_bars(client, job, console)
        else:
            _print_lines(client, job, console)
    return client.job(job_id)


def job_event_line(event: JobEvent) -> str:
    """The kind of event and what it says, in words and numbers that grep finds."""
    match event.event:
        case JobEventKind.STATE:
            return f"state {_state(JobStateEvent.model_validate(event.data))}"
        case JobEventKind.SCALARS:
            told = JobScalarsEvent.model_validate(event.data)
            return f"scalars {told.step} {told.done} {shown(told.scalars)}".rstrip()
        case JobEventKind.PROGRESS:
            at = JobProgressEvent.model_validate(event.data)
            done = f"{at.progress.done}/{at.progress.total}"
            line = f"progress {at.step} {done} {at.state.value} {shown(at.progress.scalars)}"
            return line.rstrip()


def shown(scalars: Mapping[str, float]) -> str:
    """Scalars by name, with four significant digits."""
    return " ".join(f"{name}={value:.4g}" for name, value in scalars.items())


def _state(event: JobStateEvent) -> str:
    attempt = f" attempt {event.attempt}" if event.attempt > 1 else ""
    made = "" if event.supernet_id is None else f" {event.supernet_id}"
    problem = "" if event.problem is None else f": {event.problem.detail}"
    return f"{event.state.value} {event.step} {event.step_state.value}{attempt}{made}{problem}"


def _print_lines(client: Client, job: JobRead, console: Console) -> None:
    for event in client.job_events(job.id):
        if event.event is not JobEventKind.PROGRESS:
            console.print(job_event_line(event), soft_wrap=True, markup=False)


def _show_bars(client: Client, job: JobRead, console: Console) -> None:
    bar = step_bars(console)
    tasks: dict[str, TaskID] = {
        step.name: bar.add_task(step.name, start=False, total=None, watched=step.state.value)
        for step in job.steps
    }
    with bar:
        for event in client.job_events(job.id):
            if event.event is JobEventKind.PROGRESS:
                at = JobProgressEvent.model_validate(event.data)
                bar.start_task(tasks[at.step])
                bar.update(
                    tasks[at.step],
                    completed=at.progress.done,
                    total=at.progress.total or None,
                    watched=shown(at.progress.scalars) or at.state.value,
                )
            elif event.event is JobEventKind.STATE:
                told = JobStateEvent.model_validate(event.data)
                bar.update(tasks[told.step], watched=told.step_state.value)
