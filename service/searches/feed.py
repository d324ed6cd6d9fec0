"""What streams of events tell of searches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy.orm import Session

from elasticnas.api_schemas.searches import ProgressEvent, SearchState
from elasticnas.service.principal import Principal
from elasticnas.service.searches import event_repository, repository, views
from elasticnas.service.searches.tables import SearchEventRow
from elasticnas.service.streaming.feed import Snapshot


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
                progress=ProgressEvent(
                    state=SearchState(row.state),
                    progress=views.progress(row, budget),
                    hypervolume=row.hypervolume,
                    front_size=row.front_size,
                ),
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
