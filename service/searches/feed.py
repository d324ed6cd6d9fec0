"""What streams of events tell of searches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy.orm import Session

from elasticnas.api_schemas.points import ResultsEvent
from elasticnas.api_schemas.search_events import ProgressEvent
from elasticnas.api_schemas.searches import Budget, SearchState
from elasticnas.service.principal import Principal
from elasticnas.service.searches import evaluation_repository as evaluations
from elasticnas.service.searches import event_repository, repository, views
from elasticnas.service.searches.columns import USUAL
from elasticnas.service.searches.tables import SearchEventRow, SearchRow
from elasticnas.service.streaming.feed import Results, Snapshot

RESULTS_AT_ONCE = 500
"""Of more that were recorded since the last look, the rest follow at the next."""


class SearchFeed:
    """The events of searches; see `Feed`."""

    noun = "search"

    def snapshots(
        self, session: Session, ids: Collection[str], principal: Principal | None = None
    ) -> dict[str, Snapshot]:
        """State and progress of searches."""
        return {
            row.id: Snapshot(
                is_final=SearchState(row.state).is_final,
                last_event=row.last_event,
                progress=progress_event(row, budget),
                results=row.recorded,
            )
            for row, budget in repository.at_a_glance(session, ids, principal)
        }

    def since(
        self, session: Session, numbers: Mapping[str, int], *, limit: int
    ) -> Mapping[str, Sequence[SearchEventRow]]:
        """State and front changes."""
        found: dict[str, list[SearchEventRow]] = defaultdict(list)
        for row in event_repository.since(session, numbers, limit=limit):
            found[row.search_id].append(row)
        return found

    def results(self, session: Session, after: Mapping[str, int]) -> Mapping[str, Results]:
        """Evaluations that are over, as columns."""
        tasks = repository.tasks(session, after)
        found = {
            search_id: _results(session, search_id, task, after[search_id])
            for search_id, task in tasks.items()
        }
        return {search_id: each for search_id, each in found.items() if each is not None}


def progress_event(row: SearchRow, budget: Budget) -> ProgressEvent:
    """How far a search is, as an event."""
    return ProgressEvent(
        state=SearchState(row.state),
        progress=views.progress(row, budget),
        hypervolume=row.hypervolume,
        front_size=row.front_size,
        recorded=row.recorded,
    )


def _results(session: Session, search_id: str, task: str, since: int) -> Results | None:
    """None when an evaluation that was recorded is about to be tried again."""
    columns = (*USUAL, "metrics", "cost")
    found = evaluations.recorded(session, search_id, columns, after=since, limit=RESULTS_AT_ONCE)
    if found.last is None:
        return None
    event = ResultsEvent(
        since=since,
        after=found.last,
        count=found.count,
        more=found.more,
        columns={str(name): found.column(name) for name in found.every_field(task)},
    )
    return Results(event.after, event)
