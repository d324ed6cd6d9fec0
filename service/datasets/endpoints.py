"""``/v1/datasets``."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Form, UploadFile

from elasticnas.api_schemas.datasets import DatasetRead
from elasticnas.api_schemas.fields import MAX_NAME, Identity, Name, SeveralNames, storable
from elasticnas.api_schemas.paging import Page
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.registry import NameIn
from elasticnas.service.database import now
from elasticnas.service.datasets import repository
from elasticnas.service.datasets.reading import read_rows
from elasticnas.service.datasets.rows import write_canonical
from elasticnas.service.datasets.tables import DatasetRow
from elasticnas.service.http.errors import input_problem
from elasticnas.service.http.paging import Cursor, Limit
from elasticnas.service.http.problems import ProblemError, documented, refuse
from elasticnas.service.http.routing import StrictRoute
from elasticnas.service.identity import new_id
from elasticnas.service.principal import PrincipalDep
from elasticnas.service.runtime import ServiceDep
from elasticnas.tasks import METRICS, TASKS
from elasticnas.tasks.names import names_given, require_names
from elasticnas.tasks.task import ColumnsAsked

SEVERAL = (
    "separated by commas (a name that has one in double quotes), as a JSON array of strings, or as "
    "one field for each"
)

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], route_class=StrictRoute)


@router.post(
    "",
    status_code=201,
    summary="Register validation data",
    responses=documented("invalid-dataset", "too-large", "storage-full"),
)
def create_dataset(
    service: ServiceDep,
    principal: PrincipalDep,
    file: UploadFile,
    task: Annotated[str, NameIn(TASKS), Form()],
    text_columns: Annotated[
        list[SeveralNames], Form(description=f"one or two columns; {SEVERAL}", min_length=1)
    ],
    label_column: Annotated[Name, Form()],
    name: Annotated[Name | None, Form(description="default: the file's")] = None,
    metric: Annotated[
        Annotated[str, NameIn(METRICS)] | None, Form(description="default: the task's first")
    ] = None,
    label_names: Annotated[
        list[SeveralNames] | None,
        Form(description=f"text labels in the order of the super-network's classes; {SEVERAL}"),
    ] = None,
) -> DatasetRead:
    """A JSONL, CSV, tab-separated or Parquet file, told apart by its content.

    A problem names the line or row, the column and the value at fault.
    """
    try:
        found = TASKS.find(task, field="task")
        chosen = found.metric(metric)
        texts = names_given(text_columns, "text_columns")
        (label,) = require_names([label_column], "label_column")
        given = [text for text in label_names or () if text]
        named = names_given(given, "label_names") if given else None
        with tempfile.TemporaryDirectory(
            dir=service.settings.incoming_dir, prefix="dataset-"
        ) as folder:
            received = Path(folder) / "received"
            with received.open("wb") as sink:
                shutil.copyfileobj(file.file, sink)
            rows = read_rows(
                received,
                task=found,
                asked=ColumnsAsked(tuple(texts), label, None if named is None else tuple(named)),
                most_rows=service.settings.max_dataset_rows,
            )
            write_canonical(rows, canonical := Path(folder) / "canonical")
            digest, size = service.blobs.store(canonical)
    except InputError as error:
        raise ProblemError(input_problem(error, "invalid-dataset")) from error
    dataset_id = new_id("dataset")
    row = DatasetRow(
        id=dataset_id,
        owner=principal.owner,
        name=(name or storable(file.filename or "") or dataset_id)[:MAX_NAME],
        task=task,
        metric=chosen.name,
        rows=len(rows),
        text_columns=texts,
        label_column=label,
        num_labels=rows.num_labels,
        label_names=None if rows.label_names is None else list(rows.label_names),
        label_names_given=named is not None,
        digest=digest,
        size_bytes=size,
        created_at=now(),
    )
    with service.database.write() as session:
        repository.add(session, row)
    return read(row)


@router.get("", summary="List datasets")
def list_datasets(
    service: ServiceDep, principal: PrincipalDep, limit: Limit = 50, cursor: Cursor = None
) -> Page[DatasetRead]:
    """The newest first."""
    with service.database.read() as session:
        rows, following = repository.page(session, principal, limit=limit, cursor=cursor)
    return Page(items=[read(row) for row in rows], next_cursor=following)


@router.get("/{dataset_id}", summary="Read a dataset", responses=documented("not-found"))
def read_dataset(dataset_id: Identity, service: ServiceDep, principal: PrincipalDep) -> DatasetRead:
    """Its task, metric, columns and size."""
    with service.database.read() as session:
        return read(repository.found(session, principal, dataset_id))


@router.delete(
    "/{dataset_id}",
    status_code=204,
    summary="Delete a dataset",
    responses=documented("not-found", "in-use"),
)
def delete_dataset(dataset_id: Identity, service: ServiceDep, principal: PrincipalDep) -> None:
    """Refused while any search or job refers to it."""
    with service.database.write() as session:
        row = repository.found(session, principal, dataset_id)
        if (user := repository.user(session, dataset_id)) is not None:
            raise refuse("in-use", f"{user} refers to this dataset")
        repository.delete(session, row)


def read(row: DatasetRow) -> DatasetRead:
    """A dataset as REST shows it."""
    return DatasetRead(
        id=row.id,
        name=row.name,
        task=row.task,
        metric=row.metric,
        rows=row.rows,
        text_columns=row.text_columns,
        label_column=row.label_column,
        num_labels=row.num_labels,
        label_names=row.label_names,
        label_names_given=row.label_names_given,
        digest=row.digest,
        created_at=row.created_at,
    )
