"""An event of a search as one line for a reader."""

from __future__ import annotations

from collections import Counter

from elasticnas.api_schemas.points import ResultsEvent
from elasticnas.api_schemas.search_events import (
    FrontEvent,
    ProgressEvent,
    SearchEventKind,
    StateEvent,
)
from elasticnas.client import SearchEvent


def event_line(event: SearchEvent) -> str:
    """The kind of event and what it says, in words and numbers that grep finds."""
    match event.event:
        case SearchEventKind.STATE:
            return f"state {_state(StateEvent.model_validate(event.data))}"
        case SearchEventKind.FRONT:
            return f"front {_front(FrontEvent.model_validate(event.data))}"
        case SearchEventKind.PROGRESS:
            return f"progress {_progress(ProgressEvent.model_validate(event.data))}"
        case SearchEventKind.EVALUATION:
            return f"evaluation {_results(ResultsEvent.model_validate(event.data))}"


def _state(event: StateEvent) -> str:
    reason = "" if event.stop_reason is None else f" ({event.stop_reason.value})"
    error = "" if event.error is None else f": {event.error.detail}"
    return f"{event.state.value}{reason}{error}"


def _front(event: FrontEvent) -> str:
    values = {**event.metrics, "gflops": event.cost.get("gflops")}
    shown = " ".join(f"{name}={value:.4f}" for name, value in values.items() if value is not None)
    left = f" replaces {', '.join(map(str, event.left))}" if event.left else ""
    return f"subnet {event.number} {shown}{left} hypervolume={event.hypervolume:.4f}"


def _results(event: ResultsEvent) -> str:
    states = Counter(str(state) for state in event.columns["state"])
    return f"{event.after} recorded " + " ".join(f"{state}=+{n}" for state, n in states.items())


def _progress(event: ProgressEvent) -> str:
    progress = event.progress
    given_up = f" given_up={progress.given_up}" if progress.given_up else ""
    failed = f" failed={progress.failed}" if progress.failed else ""
    return (
        f"{progress.finished}/{progress.budget_evaluations} {event.state.value}"
        f" running={progress.running}{given_up}{failed} hypervolume={event.hypervolume:.4f}"
    )
