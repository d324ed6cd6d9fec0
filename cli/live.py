"""A running search in the terminal: a progress bar, and the front as it grows."""

from __future__ import annotations

import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from elasticnas.api_schemas.searches import EvaluationRead, SearchRead, SearchState
from elasticnas.api_schemas.spaces import SpaceRead
from elasticnas.cli.front_table import front_table
from elasticnas.client import Client

POLL_SECONDS = 0.5
ROWS = 12
"""Rows of the front that are shown while it grows; the whole front is printed at the end."""


def follow(client: Client, search_id: str, console: Console) -> SearchRead:
    """Show the search until it is over; returns it as it ended.

    On something that is not a terminal a line is printed at every tenth of the budget instead.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        console=console,
    )
    task = bar.add_task("searching", total=None, speed="")
    if not console.is_terminal:
        return _print_tenths(client, search_id, console)
    space = client.space(client.search(search_id).supernet_id)
    with Live(console=console, refresh_per_second=4) as live:
        while True:
            search, front = client.search(search_id), client.front(search_id).items
            progress = search.progress
            bar.update(
                task,
                description=_doing(search),
                completed=progress.finished,
                total=progress.budget_evaluations,
                speed=_speed(search),
            )
            live.update(_view(bar, search, front, space))
            if search.state.is_final:
                return search
            time.sleep(POLL_SECONDS)


def _view(
    bar: Progress, search: SearchRead, front: list[EvaluationRead], space: SpaceRead
) -> RenderableType:
    if not front:
        return bar
    return Group(bar, Text(""), front_table(search, front, space, most=ROWS))


def _doing(search: SearchRead) -> str:
    """The state; while only the front is left to measure on unseen rows, that."""
    done = search.progress.finished
    verifies = search.verify is not None or search.verify_dataset_id is not None
    if verifies and search.state == SearchState.RUNNING and done >= search.budget.evaluations:
        return "verifying the front"
    if search.waiting_for is not None:
        return f"{search.state.value}, waiting for {search.waiting_for}"
    return search.state.value


def _speed(search: SearchRead) -> str:
    progress = search.progress
    parts = [f"hypervolume {search.hypervolume:.4f}"]
    if progress.evaluations_per_second:
        parts.append(f"{progress.evaluations_per_second:.2f}/s")
    if progress.eta_seconds and not search.state.is_final:
        parts.append(f"{progress.eta_seconds:.0f} s left")
    if progress.given_up:
        parts.append(f"{progress.given_up} given up")
    if progress.cached:
        parts.append(f"{progress.cached} from the database")
    return ", ".join(parts)


def _print_tenths(client: Client, search_id: str, console: Console) -> SearchRead:
    printed = -1
    while True:
        search = client.search(search_id)
        done = search.progress.finished
        tenth = 10 * done // max(1, search.progress.budget_evaluations)
        if tenth > printed or search.state.is_final:
            printed = tenth
            total = search.progress.budget_evaluations
            console.print(f"{_doing(search)} {done}/{total} {_speed(search)}", soft_wrap=True)
        if search.state.is_final:
            return search
        time.sleep(POLL_SECONDS)
