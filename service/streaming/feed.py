"""What has events: the streams ask it of any number of topics at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel
from sqlalchemy.orm import Session

from elasticnas.service.principal import Principal


@dataclass(frozen=True)
class Snapshot:
    """A topic, such as a search, once its event ``last_event`` had happened."""

    is_final: bool
    last_event: int
    progress: BaseModel
    results: int = 0
    """How many results had been recorded, where the topic has any."""


@dataclass(frozen=True)
class Results:
    """Results of a topic that came in together, up to the ``after``-th."""

    after: int
    event: BaseModel


class EventRow(Protocol):
    """An event that is kept."""

    @property
    def number(self) -> int:
        """Its place among the events of its topic, from 1."""
        ...

    @property
    def kind(self) -> str:
        """What kind of event it is."""
        ...

    @property
    def data(self) -> dict[str, Any]:
        """What it tells."""
        ...


class Feed(Protocol):
    """The topics of one kind, and what happens to them."""

    noun: str
    """What users call a topic."""

    def snapshots(
        self, session: Session, ids: Collection[str], principal: Principal | None = None
    ) -> dict[str, Snapshot]:
        """By id, the topics as they are now, in one query; one that does not exist is left out.

        So is one that the ``principal`` may not read; None reads the topics of all owners.
        """
        ...

    def since(
        self, session: Session, numbers: Mapping[str, int], *, limit: int
    ) -> Mapping[str, Sequence[EventRow]]:
        """At most ``limit`` events by topic, in order: of each those beyond the number given."""
        ...

    def results(self, session: Session, after: Mapping[str, int]) -> Mapping[str, Results]:
        """By topic, the results beyond the number given: as many as one event may carry."""
        ...
