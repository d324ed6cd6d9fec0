"""``elasticnas job``: what workers do step by step, such as trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elasticnas.api_schemas.jobs import JobKind, JobRead, JobState
from elasticnas.api_schemas.listing import AgeSort
from elasticnas.api_schemas.problems import InputError
from elasticnas.cli.connection import LOCAL, Server
from elasticnas.cli.failures import CANCELLED, FAILED, INTERRUPTED
from elasticnas.cli.identifiers import JobId
from elasticnas.cli.job_progress import job_event_line, watch
from elasticnas.cli.output import AsJson, err, json_text, out, print_json, table
from elasticnas.client import Client

app = typer.Typer(no_args_is_help=True, help="Trainings and other jobs on a server.")


@app.command("list")
def list_all(
    state: Annotated[JobState | None, typer.Option(help="Only those in this state.")] = None,
    kind: Annotated[JobKind | None, typer.Option(help="Only those of this kind.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only those of this dataset.")] = None,
    text: Annotated[
        str | None, typer.Option(help="Only those with this in name, id or recipe.")
    ] = None,
    sort: Annotated[AgeSort, typer.Option(help="The order.")] = AgeSort.NEWEST,
    as_json: AsJson = False,
    server: Server = LOCAL,
) -> None:
    """All jobs, the newest first; or those that are asked for."""
    jobs = list(server.jobs(state, kind, q=text, dataset_id=dataset, sort=sort))
    if as_json:
        print_json(jobs)
        return
    rows = table("", "id", "name", "kind", "state", "step", "done", "super-network")
    for job in jobs:
        step, done = _where(job)
        rows.add_row(job.id, job.name, job.kind, job.state, step, done, job.supernet_id or "")
    out.print(rows)


@app.command("show")
def show(job_id: JobId, server: Server = LOCAL) -> None:
    """Everything about a job, as JSON."""
    print_json(server.job(job_id))


@app.command("watch")
def watch_job(job_id: JobId, as_json: AsJson = False, server: Server = LOCAL) -> None:
    """Watch a job until it is over.

    The exit code says how it has ended: 0 completed, 1 failed, 3 cancelled. Ctrl-C ends the
    watching (130), never the job.
    """
    watch_to_the_end(server, job_id, as_json=as_json)


@app.command("events")
def events_of(
    job_id: JobId,
    after: Annotated[
        int | None,
        typer.Option(min=0, help="Begin after the event with this id; 0: with the first."),
    ] = None,
    as_json: AsJson = False,
    server: Server = LOCAL,
) -> None:
    """What happens to a job, a line each, until it is over; --json: an object each."""
    for event in server.job_events(job_id, after):
        line = json_text(event.model_dump(mode="json")) if as_json else job_event_line(event)
        print(line, flush=True)


@app.command("cancel")
def cancel(job_id: JobId, as_json: AsJson = False, server: Server = LOCAL) -> None:
    """End a job; what it has saved stays for a retry."""
    _print_state(server.change_job(job_id, "cancel"), as_json)


@app.command("retry")
def retry(job_id: JobId, as_json: AsJson = False, server: Server = LOCAL) -> None:
    """Let a job that failed or was cancelled go on from its last save point."""
    _print_state(server.change_job(job_id, "retry"), as_json)


@app.command("delete")
def delete(job_id: JobId, server: Server = LOCAL) -> None:
    """Forget a job that has ended; the super-network that it made stays."""
    server.delete("jobs", job_id)


@app.command("product")
def product(
    job_id: JobId,
    step: Annotated[str, typer.Argument(metavar="STEP", help="The step's name.")],
    output: Annotated[
        Path | None,
        typer.Option(help="Folder to download to.", show_default="JOB-STEP in this folder"),
    ] = None,
    server: Server = LOCAL,
) -> None:
    """Download what a completed step has left, such as scores, a space or a teacher."""
    target = output or Path(f"{job_id}-{step}")
    if target.exists():
        raise InputError("the folder is there already", field="--output", value=target)
    server.download_product(job_id, step, target)
    out.print(str(target))


def watch_to_the_end(
    client: Client, job_id: str, *, as_json: bool, shows_result: bool = True
) -> JobRead:
    """Show a job until it is over, then what it made; the exit code says how it ended.

    Without ``shows_result`` nothing is printed to the output, for there is more to come.

    Returns:
        The job, which is completed.

    Raises:
        typer.Exit: it did not complete, or the user leaves it to itself.
    """
    try:
        ended = watch(client, job_id, err)
    except KeyboardInterrupt:
        err.print(
            f"\nthe job goes on; 'elasticnas job watch {job_id}' watches it again, "
            f"'elasticnas job cancel {job_id}' ends it",
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED) from None
    if as_json and shows_result:
        print_json(ended)
    elif ended.state is JobState.COMPLETED and shows_result:
        _print_made(ended)
    if ended.state is JobState.CANCELLED:
        err.print(f"the job was cancelled; 'elasticnas job retry {job_id}' goes on with it")
        raise typer.Exit(CANCELLED)
    if ended.state is JobState.FAILED:
        why = "no reason was given" if ended.problem is None else ended.problem.detail
        err.print(
            f"the job failed: {why}; 'elasticnas job retry {job_id}' goes on from its last save "
            "point",
            soft_wrap=True,
            markup=False,
        )
        raise typer.Exit(FAILED)
    return ended


def _print_made(ended: JobRead) -> None:
    """What a completed job made: a super-network, or a model with the metrics it had and has."""
    if ended.finetuned is None:
        out.print(f"super-network {ended.supernet_id}")
        return
    subnet = f"subnet {ended.finetuned.number} of {ended.finetuned.search_id}"
    rows = table(subnet, "metric", "before", "after")
    for name, change in (ended.finetuned.metrics or {}).items():
        rows.add_row(name, f"{change.before:.4f}", f"{change.after:.4f}")
    out.print(rows)


def _print_state(changed: JobRead, as_json: bool) -> None:
    if as_json:
        print_json(changed)
    else:
        out.print(changed.state.value)


def _where(job: JobRead) -> tuple[str, str]:
    """The first step that is not completed, or the last, and how far it is."""
    unfinished = [step for step in job.steps if step.state is not JobState.COMPLETED]
    step = (unfinished or job.steps)[0 if unfinished else -1]
    return step.name, f"{step.progress.done}/{step.progress.total}"
