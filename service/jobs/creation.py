"""Taking a training: what it begins with is stored, then a worker does the steps of its recipe.

A job of another kind is made with the same pieces (`service.jobs.finetuning`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from elasticnas.api_schemas.finetuning import FinetuneCreate
from elasticnas.api_schemas.jobs import JobKind, JobState, TrainingCreate
from elasticnas.api_schemas.manifests import store_folder
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.recipes import RECIPES, Recipe
from elasticnas.service.database import now
from elasticnas.service.datasets import repository as datasets
from elasticnas.service.datasets.tables import DatasetRow
from elasticnas.service.http.errors import validation_problem
from elasticnas.service.http.problems import ProblemError
from elasticnas.service.idempotency import KeyOfRequest, add_once, earlier
from elasticnas.service.identity import new_id
from elasticnas.service.jobs import events, repository
from elasticnas.service.jobs.tables import JobRow, StepRow
from elasticnas.service.principal import Principal
from elasticnas.service.runtime import Service
from elasticnas.service.supernets.sources import Source
from elasticnas.tasks import TASKS


def start_training(
    service: Service,
    principal: Principal,
    asked: TrainingCreate,
    source: Source,
    idempotency_key: str | None = None,
) -> JobRow:
    """Queue the training of a pretrained model; a coordinator gives it to a worker.

    The same request with the same key and the same model is answered with the job it has queued.

    Raises:
        InputError, ProblemError: there is no such recipe or dataset, a setting cannot be used, the
            model cannot be had, or the key belongs to another request.
    """
    recipe = RECIPES.find(asked.recipe, field="recipe")
    _require_training(recipe, asked.recipe)
    settings = checked(recipe, asked.settings)
    with service.database.read() as session:
        dataset = datasets.found(session, principal, asked.dataset_id, field="dataset_id")
        require_learnt(dataset)
        settings |= of_task(settings, dataset, dataset.task_settings or {})
    incoming = service.settings.incoming_dir
    with tempfile.TemporaryDirectory(dir=incoming, prefix="training-") as workspace:
        model = source(Path(workspace))
        _require_model(model)
        digest, _ = store_folder(service.blobs, model)
    key = KeyOfRequest.of(idempotency_key, asked, digest)
    with service.database.read() as session:
        if (before := earlier(session, principal, JobRow, key)) is not None:
            return before
    job = new_job(principal, asked.recipe, asked, settings)
    job.base_digest = digest
    return queued(service, principal, job, key)


def new_job(
    principal: Principal,
    recipe: str,
    asked: TrainingCreate | FinetuneCreate,
    settings: dict[str, Any],
) -> JobRow:
    """The row of a job, without what it begins with."""
    job_id = new_id("job")
    return JobRow(
        id=job_id,
        owner=principal.owner,
        kind=RECIPES[recipe].kind,
        name=asked.name or job_id,
        recipe=recipe,
        settings=settings,
        dataset_id=asked.dataset_id,
        state=JobState.QUEUED,
        position=0,
        last_event=0,
        created_at=now(),
    )


def queued(service: Service, principal: Principal, job: JobRow, key: KeyOfRequest | None) -> JobRow:
    """The job, once it is kept with its steps; or the one of the same request.

    Raises:
        ProblemError: 409, the key came with something else at the same moment.
    """
    steps = [
        StepRow(job_id=job.id, position=position, name=name, state=JobState.QUEUED, attempt=0)
        for position, name in enumerate(RECIPES[job.recipe].steps)
    ]

    def add(session: Session) -> None:
        repository.add(session, job, steps)
        events.state_changed(session, job, steps[0])

    return add_once(service.database, principal, job, key, add)


def _require_training(recipe: Recipe, name: str) -> None:
    """The recipe begins with a pretrained model.

    Raises:
        InputError: it begins with something else.
    """
    if recipe.kind is not JobKind.TRAINING:
        trainings = [each for each in RECIPES if RECIPES[each].kind is JobKind.TRAINING]
        raise InputError(
            "this recipe trains a subnet of a search on, and begins with no pretrained model",
            field="recipe",
            value=name,
            remedy="POST /v1/searches/{id}/subnets/{number}/finetune, or choose one of "
            f"{', '.join(trainings)}",
        )


def checked(recipe: Recipe, given: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe's settings with every default filled in.

    Raises:
        ProblemError: one of them is unknown or cannot be used.
    """
    try:
        return recipe.settings.model_validate(given).model_dump(mode="json")
    except ValidationError as error:
        found = [{**each, "loc": ("body", "settings", *each["loc"])} for each in error.errors()]
        raise ProblemError(validation_problem(found)) from error


def _require_model(folder: Path) -> None:
    """What is to be trained is the folder of a model.

    Raises:
        InputError: it is something else, such as the checkpoint of a super-network.
    """
    if not (folder / "config.json").is_file():
        raise InputError(
            "there is no config.json at the top: this is no Hugging Face folder of a model",
            field="config.json",
            value=", ".join(sorted(path.name for path in folder.iterdir())[:10]),
            remedy="send the files of the model themselves, or one folder that holds them and is "
            "not called base",
        )


def require_learnt(dataset: DatasetRow, field: str = "dataset_id") -> None:
    """Recipes train on the dataset's task.

    Raises:
        InputError: they only measure by it.
    """
    if not TASKS[dataset.task].is_learnt:
        listed = ", ".join(each.name for each in TASKS.values() if each.is_learnt)
        raise InputError(
            f"no recipe trains on {dataset.task}",
            field=field,
            value=dataset.task,
            remedy=f"train elsewhere and register the super-network, or choose a dataset of "
            f"{listed}",
        )


def of_task(
    settings: Mapping[str, Any], dataset: DatasetRow, usual: Mapping[str, Any]
) -> dict[str, Any]:
    """The recipe's ``task_settings``, if it has any: the request's, else the ``usual`` ones.

    Raises:
        InputError: one is wrong, or does not fit the dataset.
    """
    if "task_settings" not in settings:
        return {}
    given = {**usual, **settings["task_settings"]}
    try:
        return {"task_settings": TASKS[dataset.task].settle(given, dataset.known()).said()}
    except InputError as error:
        raise InputError(
            error.detail,
            field=f"settings/{error.field}",
            value=error.value,
            remedy=error.remedy,
        ) from error
