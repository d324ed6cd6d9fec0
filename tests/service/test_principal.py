"""Who sends a request, and which rows they may read."""

from __future__ import annotations

import asyncio

from sqlalchemy import MetaData, String, create_engine, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from elasticnas.service.database import Table
from elasticnas.service.principal import DEFAULT_OWNER, Owned, Principal, principal


class _Owned(Table):
    __abstract__ = True
    metadata = MetaData()


class Note(Owned, _Owned):
    __tablename__ = "notes"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)


def test_every_request_is_the_default_owners() -> None:
    assert asyncio.run(principal()) == Principal(DEFAULT_OWNER)


def test_a_principal_may_read_the_rows_of_its_owner_alone() -> None:
    engine = create_engine("sqlite://")
    Note.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Note(id="one", owner="alice"), Note(id="two", owner="bob")])
        session.flush()
        seen = session.scalars(select(Note.id).where(Principal("bob").may_read(Note))).all()
    assert seen == ["two"]
