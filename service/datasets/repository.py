"""All SQL about datasets."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, select, union
from sqlalchemy.orm import Session

from elasticnas.api_schemas.finetuning import ChosenSubnet
from elasticnas.api_schemas.jobs import JobState
from elasticnas.api_schemas.listing import Sort
from elasticnas.service import list_repository as listing
from elasticnas.service import repository
from elasticnas.service.datasets.tables import DatasetRow
from elasticnas.service.jobs.tables import JobRow
from elasticnas.service.principal import Principal
from elasticnas.service.searches.tables import SearchRow


def found(
    session: Session,
    principal: Principal,
    dataset_id: str,
    *,
    field: str | None = None,
    lock: bool = False,
) -> DatasetRow:
    """One of the principal's datasets, or the problem of `repository.found`."""
    return repository.found(session, principal, DatasetRow, dataset_id, field=field, lock=lock)


@dataclass(frozen=True)
class Wanted:
    """Which datasets a list is of: those for which everything holds that is not None."""

    text: str | None = None
    tag: str | None = None
    task: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """What must hold of a row."""
        row = DatasetRow
        return [
            *listing.holds_text(self.text, row.name, row.id, row.notes, row.tags),
            *listing.has_tag(row, self.tag),
            *listing.is_one_of(row.task, self.task and [self.task]),
        ]


def page(
    session: Session,
    principal: Principal,
    wanted: Wanted,
    *,
    sort: Sort,
    limit: int,
    cursor: str | None,
) -> tuple[list[DatasetRow], str | None]:
    """Datasets in the order asked for."""
    order = listing.order_of(DatasetRow, sort, {"name": DatasetRow.name})
    conditions = wanted.conditions()
    return listing.page(
        session, principal, DatasetRow, conditions, order, limit=limit, cursor=cursor
    )


def add(session: Session, row: DatasetRow) -> None:
    """Register a dataset."""
    session.add(row)


def delete(session: Session, row: DatasetRow) -> None:
    """Delete a dataset that no search refers to."""
    session.delete(row)


def by_id(session: Session, dataset_id: str) -> DatasetRow:
    """A dataset of any owner, which a search refers to."""
    return session.get_one(DatasetRow, dataset_id)


def digests(session: Session) -> set[str]:
    """The blobs of all datasets, and of the rows that searches measure on and unfinished
    fine-tunings need, relabelled."""
    needed = session.scalars(
        select(JobRow.chosen).where(JobRow.chosen.is_not(None), JobRow.state != JobState.COMPLETED)
    )
    chosen = [ChosenSubnet.model_validate(each) for each in needed]
    of_jobs = {digest for each in chosen for digest in (each.rows, each.conditions.dataset)}
    return of_jobs | set(
        session.scalars(
            union(
                select(DatasetRow.digest),
                select(SearchRow.dataset_digest),
                select(SearchRow.verify_dataset_digest).where(
                    SearchRow.verify_dataset_digest.is_not(None)
                ),
                select(SearchRow.train_dataset_digest).where(
                    SearchRow.train_dataset_digest.is_not(None)
                ),
            )
        )
    )


def user(session: Session, dataset_id: str) -> str | None:
    """A search or job that refers to the dataset, in words, if there is one."""
    search = select(SearchRow.id).where(
        (SearchRow.dataset_id == dataset_id)
        | (SearchRow.verify_dataset_id == dataset_id)
        | (SearchRow.train_dataset_id == dataset_id)
    )
    if (found := session.scalars(search.limit(1)).first()) is not None:
        return f"search {found}"
    job = select(JobRow.id).where(JobRow.dataset_id == dataset_id)
    found = session.scalars(job.limit(1)).first()
    return None if found is None else f"job {found}"
