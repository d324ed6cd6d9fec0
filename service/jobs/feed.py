"""What streams of events tell of jobs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy.orm import Session

from elasticnas.api_schemas.jobs import JobProgressEvent, JobState
from elasticnas.service.jobs import registrations, repository, views
from elasticnas.service.principal import Principal
from elasticnas.service.streaming.feed import EventRow, Results, Snapshot


class JobFeed:
    """The events of jobs and of registrations; see `Feed`."""

    noun = "job"

    def snapshots(
        self, session: Session, ids: Collection[str], principal: Principal | None = None
    ) -> dict[str, Snapshot]:
        """State and progress of jobs."""
        found = {
            row.id: registrations.snapshot(row)
            for row in repository.registrations_of(session, ids, principal)
        }
        return found | {
            job.id: Snapshot(
                is_final=JobState(job.state).is_final,
                last_event=job.last_event,
                progress=JobProgressEvent(
                    state=JobState(job.state), step=step.name, progress=views.progress(step)
                ),
            )
            for job, step in repository.with_steps(session, ids, principal)
        }

    def since(
        self, session: Session, numbers: Mapping[str, int], *, limit: int
    ) -> Mapping[str, Sequence[EventRow]]:
        """State changes and scalars."""
        found: dict[str, list[EventRow]] = defaultdict(list)
        for registered in repository.registrations_of(session, numbers, None):
            found[registered.id] += registrations.events(registered, numbers[registered.id])
        for row in repository.events_after(session, numbers, limit=limit):
            found[row.job_id].append(row)
        return found

    def results(self, session: Session, after: Mapping[str, int]) -> Mapping[str, Results]:
        """None: jobs evaluate nothing."""
        del session, after
        return {}
