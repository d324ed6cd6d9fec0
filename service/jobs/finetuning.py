"""Taking a fine-tuning: a subnet that a search has measured, and rows to train it on with."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from elasticnas.api_schemas.finetuning import ChosenSubnet, FinetuneCreate, Trained
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.recipes import FINETUNE, RECIPES
from elasticnas.api_schemas.supernets import SupernetReport
from elasticnas.service.datasets import repository as datasets
from elasticnas.service.datasets.rows import relabelled
from elasticnas.service.datasets.tables import DatasetRow
from elasticnas.service.exports.building import card_of
from elasticnas.service.idempotency import KeyOfRequest, earlier
from elasticnas.service.jobs.creation import checked, new_job, of_task, queued
from elasticnas.service.jobs.tables import JobRow
from elasticnas.service.principal import Principal
from elasticnas.service.runtime import Service
from elasticnas.service.searches import lookup
from elasticnas.service.searches import repository as searches
from elasticnas.service.searches.conditions import conditions_of
from elasticnas.service.searches.creation import (
    classes_of,
    learnt_by_heart,
    no_adapters,
    require_other_rows,
)
from elasticnas.service.searches.tables import SearchRow


def start_finetuning(
    service: Service,
    principal: Principal,
    search_id: str,
    number: int,
    asked: FinetuneCreate,
    idempotency_key: str | None = None,
) -> JobRow:
    """Queue the fine-tuning of a subnet; a coordinator gives it to a worker.

    The same request with the same key is answered with the job it has queued.

    Raises:
        InputError, ProblemError: there is no such subnet or dataset, the subnet is not measured,
            a setting or the rows cannot be used, or the key belongs to another request.
    """
    key = KeyOfRequest.of(idempotency_key, asked, search_id, str(number))
    with service.database.read() as session:
        if (before := earlier(session, principal, JobRow, key)) is not None:
            return before
        search = searches.found(session, principal, search_id)
        dataset = datasets.found(session, principal, asked.dataset_id, field="dataset_id")
        chosen = _chosen(session, service, search, number, dataset)
        report = service.reports.get(session, search.supernet_id).report
        _require_other_rows(search, dataset, datasets.by_id(session, search.dataset_id))
        classes = classes_of(report, dataset)
    settings = _settings(asked, search, dataset, report)
    if classes is not None:
        scratch = service.settings.incoming_dir
        rows = relabelled(service.blobs, dataset.digest, classes, scratch)
        chosen = chosen.model_copy(update={"rows": rows})
    job = new_job(principal, FINETUNE, asked, settings)
    job.base_digest = search.supernet_digest
    job.chosen = chosen.model_dump(mode="json")
    return queued(service, principal, job, key)


def _chosen(
    session: Session, service: Service, search: SearchRow, number: int, dataset: DatasetRow
) -> ChosenSubnet:
    """The subnet, with how it was measured."""
    evaluation = lookup.completed(session, search.id, number)
    space = service.reports.get(session, search.supernet_id).space
    conditions = conditions_of(search)
    if evaluation.precision is not None:
        precision = Precision(evaluation.precision)
        conditions = conditions.model_copy(update={"precision": precision})
    return ChosenSubnet(
        subnet=dict(space.decode(evaluation.choices)),
        card=card_of(session, search, evaluation),
        conditions=conditions,
        rows=dataset.digest,
        rows_name=dataset.name,
    )


def _settings(
    asked: FinetuneCreate, search: SearchRow, dataset: DatasetRow, report: SupernetReport
) -> dict[str, Any]:
    """The recipe's settings; what the request leaves out of rows is as the search measures."""
    settings = checked(RECIPES[FINETUNE], {"max_length": search.max_length, **asked.settings})
    if settings["trained"] == Trained.ADAPTERS and not report.has_adapters:
        raise no_adapters("settings/trained")
    usual = {**(dataset.task_settings or {}), **(search.request.get("task_settings") or {})}
    return settings | of_task(settings, dataset, usual)


def _require_other_rows(search: SearchRow, dataset: DatasetRow, measured: DatasetRow) -> None:
    """The rows are for the search's task, and none that it measures on.

    Raises:
        InputError: they are something else.
    """
    require_other_rows(search.task, dataset, "dataset_id")
    seen = {search.dataset_digest, search.verify_dataset_digest, measured.digest}
    if dataset.id in (search.dataset_id, search.verify_dataset_id) or dataset.digest in seen:
        raise learnt_by_heart(dataset.id, "dataset_id")
