"""What the stream of events of an owner tells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy.orm import Session

from elasticnas.api_schemas.jobs import JobProgressEvent
from elasticnas.api_schemas.overview import JobUnderway, OverviewProgress, SearchUnderway
from elasticnas.service.jobs import feed as job_feed
from elasticnas.service.jobs import repository as jobs
from elasticnas.service.overview import repository
from elasticnas.service.overview.tables import OwnerEventRow
from elasticnas.service.principal import Principal
from elasticnas.service.searches import feed as search_feed
from elasticnas.service.searches import repository as searches
from elasticnas.service.streaming.feed import Results, Snapshot

MOST_UNDERWAY = 200
"""Searches, and jobs, of which progress is told."""


class OverviewFeed:
    """The events of owners; see `Feed`. A topic is an owner, and never over."""

    noun = "owner"

    def snapshots(
        self, session: Session, ids: Collection[str], principal: Principal | None = None
    ) -> dict[str, Snapshot]:
        """What is under way."""
        owners = [each for each in ids if principal is None or each == principal.owner]
        return {
            owner: Snapshot(False, number, _underway(session, Principal(owner)))
            for owner, number in repository.last_events(session, owners).items()
        }

    def since(
        self, session: Session, numbers: Mapping[str, int], *, limit: int
    ) -> Mapping[str, Sequence[OwnerEventRow]]:
        """State changes."""
        found: dict[str, list[OwnerEventRow]] = defaultdict(list)
        for row in repository.since(session, numbers, limit=limit):
            found[row.owner].append(row)
        return found

    def results(self, session: Session, after: Mapping[str, int]) -> Mapping[str, Results]:
        """None: they are told by the stream of each search."""
        del session, after
        return {}


def _underway(session: Session, principal: Principal) -> OverviewProgress:
    glanced = searches.underway(session, principal, limit=MOST_UNDERWAY)
    found = {row.id: search_feed.progress_event(row, budget) for row, budget in glanced}
    job_ids = jobs.underway(session, principal, limit=MOST_UNDERWAY)
    snapshots = job_feed.JobFeed().snapshots(session, job_ids, principal)
    told = {job_id: snapshots[job_id].progress for job_id in job_ids if job_id in snapshots}
    return OverviewProgress(
        searches=[SearchUnderway(id=each, **dict(event)) for each, event in found.items()],
        jobs=[
            JobUnderway(id=each, **dict(event))
            for each, event in told.items()
            if isinstance(event, JobProgressEvent)
        ],
    )
