"""What a stream needs to know of a search at one moment."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy.orm import Session

from elasticnas.api_schemas.searches import ProgressEvent, SearchState
from elasticnas.service.principal import Principal
from elasticnas.service.searches import repository, views


@dataclass(frozen=True)
class Snapshot:
    """State and progress of a search once its event ``last_event`` had happened."""

    state: SearchState
    last_event: int
    progress: ProgressEvent


def snapshots(
    session: Session, search_ids: Collection[str], principal: Principal | None = None
) -> dict[str, Snapshot]:
    """By id, the searches as they are now, in one query; one that does not exist is left out.

    So is one that the ``principal`` may not read; None reads the searches of all owners.
    """
    return {
        row.id: Snapshot(
            state=SearchState(row.state),
            last_event=row.last_event,
            progress=ProgressEvent(
                state=SearchState(row.state),
                progress=views.progress(row, budget),
                hypervolume=row.hypervolume,
                front_size=row.front_size,
            ),
        )
        for row, budget in repository.at_a_glance(session, search_ids, principal)
    }
