"""A progress bar for each step of a recipe."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def step_bars(console: Console) -> Progress:
    """Bars without tasks yet; each task has a field ``watched``: what its step measures."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        TextColumn("{task.fields[watched]}"),
        TimeRemainingColumn(),
        console=console,
    )
