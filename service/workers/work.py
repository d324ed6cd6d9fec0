"""What workers are at, as their owner sees it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy.orm import Session

from elasticnas.api_schemas.workers import WorkKind, WorkRead
from elasticnas.service import repository
from elasticnas.service.exports import repository as exports
from elasticnas.service.jobs import repository as jobs
from elasticnas.service.jobs.tables import JobRow
from elasticnas.service.principal import Principal
from elasticnas.service.searches.tables import SearchRow
from elasticnas.service.supernets.tables import SupernetRow

OF_SEARCHES = (WorkKind.EVALUATION, WorkKind.VERIFICATION)


class Work(NamedTuple):
    """What a key of `WorkerAlive.evaluating` names: a kind of work on the thing with this id.

    ``number`` is that of the evaluation, or the position of the step.
    """

    kind: WorkKind
    identity: str
    number: int = 0


def work_of(key: str) -> Work | None:
    """What a key names; None where it is of a later version."""
    match key.split("/"):
        case [identity, "inspection"]:
            return Work(WorkKind.REGISTRATION, identity)
        case [identity, "export"]:
            return Work(WorkKind.EXPORT, identity)
        case [identity, number, "verification"] if number.isdecimal():
            return Work(WorkKind.VERIFICATION, identity, int(number))
        case [identity, number] if number.isdecimal():
            return Work(WorkKind.EVALUATION, identity, int(number))
        case [identity, position, _] if position.isdecimal():
            return Work(WorkKind.STEP, identity, int(position))
    return None


@dataclass(frozen=True)
class Workshop:
    """The names of the principal's things that workers are at; no other's are in it."""

    searches: dict[str, str | None]
    supernets: dict[str, str]
    jobs: dict[str, str]
    steps: dict[tuple[str, int], str]
    exports: dict[str, tuple[str, int]]

    @classmethod
    def look(cls, session: Session, principal: Principal, keys: Collection[str]) -> Workshop:
        """Look up what these keys of `WorkerAlive.evaluating` name."""
        found = [work for key in keys if (work := work_of(key)) is not None]

        def of(*kinds: WorkKind) -> set[str]:
            return {work.identity for work in found if work.kind in kinds}

        exported = exports.subnets(session, of(WorkKind.EXPORT))
        searched = of(*OF_SEARCHES) | {search_id for search_id, _ in exported.values()}
        named = repository.values(session, principal, JobRow, JobRow.name, of(WorkKind.STEP))
        return cls(
            searches=repository.values(session, principal, SearchRow, SearchRow.name, searched),
            supernets=repository.values(
                session, principal, SupernetRow, SupernetRow.name, of(WorkKind.REGISTRATION)
            ),
            jobs=named,
            steps={
                (job_id, step.position): step.name
                for job_id, steps in jobs.steps(session, named).items()
                for step in steps
            },
            exports=exported,
        )

    def at(self, keys: Sequence[str]) -> list[WorkRead]:
        """What a worker with these keys is at, the evaluations of a search together."""
        together: dict[tuple[WorkKind, str], WorkRead] = {}
        for work in map(work_of, keys):
            if work is None or (read := self._read(work)) is None:
                continue
            first = together.setdefault((work.kind, work.identity), read)
            if first is not read:
                first.numbers += read.numbers
        return list(together.values())

    def _read(self, work: Work) -> WorkRead | None:
        """None where it is another's, or gone."""
        kind, identity, number = work
        if kind is WorkKind.REGISTRATION and identity in self.supernets:
            return WorkRead(kind=kind, supernet_id=identity, name=self.supernets[identity])
        if kind is WorkKind.STEP and identity in self.jobs:
            step = self.steps.get((identity, number))
            return WorkRead(kind=kind, job_id=identity, name=self.jobs[identity], step=step)
        if kind is WorkKind.EXPORT:
            identity, number = self.exports.get(identity, ("", 0))
        if identity in self.searches:
            name = self.searches[identity]
            return WorkRead(kind=kind, search_id=identity, name=name, numbers=[number])
        return None
