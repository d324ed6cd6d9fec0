"""``/v1/datasets``."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Form, UploadFile

from elasticnas.api_schemas.annotations import NamedPatch
from elasticnas.api_schemas.datasets import ClassCount, DatasetRead
from elasticnas.api_schemas.fields import MAX_NAME, Identity, Name, SeveralNames, storable
from elasticnas.api_schemas.listing import Sort
from elasticnas.api_schemas.paging import Page
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.registry import NameIn
from elasticnas.service.annotations import annotate
from elasticnas.service.database import now
from elasticnas.service.datasets import repository
from elasticnas.service.datasets.reading import columns_asked, read_rows
from elasticnas.service.datasets.rows import DatasetRows, write_canonical
from elasticnas.service.datasets.tables import DatasetRow
from elasticnas.service.http.errors import input_problem
from elasticnas.service.http.filters import NameSought, TagSought, TextSought
from elasticnas.service.http.paging import Cursor, Limit
from elasticnas.service.http.problems import ProblemError, documented, refuse
from elasticnas.service.http.routing import StrictRoute
from elasticnas.service.identity import new_id
from elasticnas.service.principal import PrincipalDep
from elasticnas.service.runtime import ServiceDep
from elasticnas.tasks import METRICS, TASKS, Task
from elasticnas.tasks.kinds import KINDS, DatasetKind
from elasticnas.tasks.settings import FIELD

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
    task: Annotated[
        Annotated[str, NameIn(TASKS)] | None, Form(description="default: the kind's")
    ] = None,
    kind: Annotated[
        Annotated[str, NameIn(KINDS)] | None,
        Form(description="public data as it comes, which says task, columns and task_settings"),
    ] = None,
    text_columns: Annotated[
        list[SeveralNames] | None,
        Form(description=f"one or two columns, of language models any number; {SEVERAL}"),
    ] = None,
    label_column: Annotated[
        Name | None, Form(description="needed unless the task has no labels")
    ] = None,
    choices_column: Annotated[
        list[SeveralNames] | None,
        Form(
            description="of multiple choice: a column of lists of texts, or a column of texts for "
            f"each choice; {SEVERAL}"
        ),
    ] = None,
    first_label: Annotated[
        int, Form(description="the number of the first choice in the labels", ge=0, le=1)
    ] = 0,
    task_settings: Annotated[
        str | None,
        Form(
            description="a JSON object: what searches say of the task unless they say otherwise",
            max_length=1 << 20,
        ),
    ] = None,
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
        chosen_kind = KINDS.find(kind, field="kind") if kind else None
        found = TASKS.find(task or (chosen_kind.task if chosen_kind else task), field="task")
        chosen = found.metric(metric)
        asked = columns_asked(
            found, chosen_kind, text_columns, label_column, choices_column, label_names
        )
        asked = replace(asked, first_label=first_label) if chosen_kind is None else asked
        with tempfile.TemporaryDirectory(
            dir=service.settings.incoming_dir, prefix="dataset-"
        ) as folder:
            received = Path(folder) / "received"
            with received.open("wb") as sink:
                shutil.copyfileobj(file.file, sink)
            rows = read_rows(
                received,
                task=found,
                asked=asked,
                kind=chosen_kind,
                most_rows=service.settings.max_dataset_rows,
            )
            settings = _settings(found, chosen_kind, task_settings, rows)
            write_canonical(rows, canonical := Path(folder) / "canonical")
            digest, size = service.blobs.store(canonical)
    except InputError as error:
        raise ProblemError(input_problem(error, "invalid-dataset")) from error
    dataset_id = new_id("dataset")
    row = DatasetRow(
        id=dataset_id,
        owner=principal.owner,
        name=(name or storable(file.filename or "") or dataset_id)[:MAX_NAME],
        task=found.name,
        kind=None if chosen_kind is None else chosen_kind.name,
        metric=chosen.name,
        rows=len(rows),
        text_columns=list(asked.texts),
        label_column=asked.label or "",
        choices_columns=list(asked.choices) or None,
        task_settings=settings or None,
        num_labels=rows.num_labels,
        label_names=None if rows.label_names is None else list(rows.label_names),
        label_names_given=asked.label_names is not None,
        class_counts=rows.class_counts,
        digest=digest,
        size_bytes=size,
        created_at=now(),
    )
    with service.database.write() as session:
        repository.add(session, row)
    return read(row)


def _settings(
    task: Task, kind: DatasetKind | None, given: str | None, rows: DatasetRows
) -> dict[str, Any]:
    """The settings that come with a dataset, which fit it.

    Raises:
        InputError: they are no JSON object, or the task has no such settings.
    """
    settings = {} if kind is None else dict(kind.settings)
    if given:
        try:
            said = json.loads(given)
        except (ValueError, RecursionError) as error:
            raise InputError(f"this is not JSON: {error}", field=FIELD) from error
        if not isinstance(said, dict):
            raise InputError("this is not a JSON object", field=FIELD, value=given[:100])
        settings |= said
    if settings:
        task.settle(settings, rows.known())
    return settings


@router.get("", summary="List datasets", responses=documented("invalid-input"))
def list_datasets(
    service: ServiceDep,
    principal: PrincipalDep,
    q: TextSought = None,
    tag: TagSought = None,
    task: NameSought = None,
    sort: Sort = Sort.NEWEST,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[DatasetRead]:
    """The newest first, unless sorted otherwise."""
    wanted = repository.Wanted(q, tag, task)
    with service.database.read() as session:
        rows, following = repository.page(
            session, principal, wanted, sort=sort, limit=limit, cursor=cursor
        )
    return Page(items=[read(row) for row in rows], next_cursor=following)


@router.get("/{dataset_id}", summary="Read a dataset", responses=documented("not-found"))
def read_dataset(dataset_id: Identity, service: ServiceDep, principal: PrincipalDep) -> DatasetRead:
    """Its task, metric, columns and size."""
    with service.database.read() as session:
        return read(repository.found(session, principal, dataset_id))


@router.patch(
    "/{dataset_id}",
    summary="Rename a dataset, write notes and tags on it",
    responses=documented("not-found", "invalid-request"),
)
def patch_dataset(
    dataset_id: Identity, body: NamedPatch, service: ServiceDep, principal: PrincipalDep
) -> DatasetRead:
    """What is left out stays as it is."""
    with service.database.write() as session:
        row = repository.found(session, principal, dataset_id, lock=True)
        annotate(row, body)
    return read(row)


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
        notes=row.notes,
        tags=row.tags,
        task=row.task,
        metric=row.metric,
        rows=row.rows,
        text_columns=row.text_columns,
        label_column=row.label_column or None,
        kind=row.kind,
        choices_columns=row.choices_columns,
        task_settings=row.task_settings or {},
        num_labels=row.num_labels,
        label_names=row.label_names,
        label_names_given=row.label_names_given,
        class_counts=_class_counts(row),
        digest=row.digest,
        created_at=row.created_at,
    )


def _class_counts(row: DatasetRow) -> list[ClassCount] | None:
    names = row.label_names or []
    if row.class_counts is None:
        return None
    return [
        ClassCount(label=label, name=names[label] if label < len(names) else None, rows=count)
        for label, count in enumerate(row.class_counts)
    ]
