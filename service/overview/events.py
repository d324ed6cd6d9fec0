"""What happens to the things of an owner, written down as the transaction ends in which it does.

At its end, because the owner's counter is held from then on: changes of other searches, which may
compute for long, wait for no more than the commit.
"""

from __future__ import annotations

from functools import partial

from sqlalchemy.orm import Session

from elasticnas.api_schemas.overview import OverviewEventKind, OverviewState
from elasticnas.service.database import at_commit
from elasticnas.service.overview import repository

DELETED = "deleted"


def tell(session: Session, owner: str, state: OverviewState) -> None:
    """A search or a job is in a state, or there no longer."""
    data = state.model_dump(mode="json")
    at_commit(
        session, partial(repository.add, owner=owner, kind=OverviewEventKind.STATE, data=data)
    )
