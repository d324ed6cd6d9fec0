"""The identity of an installation, and the orphans that it has found in its store."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from elasticnas.service.database import Table

THE_ONLY = 1


class InstallationRow(Table):
    """One row: who this installation is. A migration makes it, so every database has its own.

    The blob store carries ``token``, or ``next_token`` while one is put in the place of the other.
    Until ``turn_until`` another process is at that.
    """

    __tablename__ = "installation"

    key: Mapped[int] = mapped_column(primary_key=True, default=THE_ONLY)
    id: Mapped[str] = mapped_column(String(40))
    token: Mapped[str] = mapped_column(String(32))
    next_token: Mapped[str | None] = mapped_column(String(32))
    turn_until: Mapped[datetime | None]


class OrphanRow(Table):
    """A blob that a collection found without a reference, and when it was first found so."""

    __tablename__ = "orphans"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    marked_at: Mapped[datetime]
