"""Who sends a request, and which rows they may read."""

from __future__ import annotations

import asyncio

from sqlalchemy import MetaData, create_engine, select
from sqlalchemy.orm import Session

from elasticnas.service.database import Table, now
from elasticnas.service.principal import DEFAULT_OWNER, Owned, Principal, principal


class _Owned(Table):
    __abstract__ = True
    metadata = MetaData()


class Note(Owned, _Owned):
    __tablename__ = "notes"


def test_every_request_is_the_default_owners() -> None:
    assert asyncio.run(principal()) == Principal(DEFAULT_OWNER)


def test_a_principal_may_read_the_rows_of_its_owner_alone() -> None:
    engine = create_engine("sqlite://")
    Note.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(
            Note(id=name, owner=owner, created_at=now())
            for name, owner in (("one", "alice"), ("two", "bob"))
        )
        session.flush()
        seen = session.scalars(select(Note.id).where(Principal("bob").may_read(Note))).all()
    assert seen == ["two"]
