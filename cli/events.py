"""``elasticnas events``."""

from __future__ import annotations

from typing import Annotated

import typer

from elasticnas.api_schemas.overview import OverviewEventKind, OverviewProgress, OverviewState
from elasticnas.cli.connection import LOCAL, Server
from elasticnas.cli.output import AsJson, json_text
from elasticnas.client import OverviewEvent


def events(
    after: Annotated[
        int | None,
        typer.Option(min=0, help="Begin after the event with this id; 0: with the first kept."),
    ] = None,
    as_json: AsJson = False,
    server: Server = LOCAL,
) -> None:
    """What happens to all searches and jobs, a line each, until Ctrl-C; --json: an object each."""
    for event in server.all_events(after):
        line = json_text(event.model_dump(mode="json")) if as_json else _line(event)
        print(line, flush=True)


def _line(event: OverviewEvent) -> str:
    if event.event is OverviewEventKind.PROGRESS:
        progress = OverviewProgress.model_validate(event.data)
        return f"progress searches={len(progress.searches)} jobs={len(progress.jobs)}"
    state = OverviewState.model_validate(event.data)
    reason = "" if state.stop_reason is None else f" ({state.stop_reason})"
    problem = "" if state.problem is None else f": {state.problem.detail}"
    return f"{state.kind} {state.id} {state.state}{reason}{problem}"
