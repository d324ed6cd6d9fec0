"""Creating a search: a mistake that can be seen before any work is refused here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.finetuning import Evaluation, Trained
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.searches import SearchCreate, SearchState, is_cost
from elasticnas.api_schemas.supernets import SupernetReport
from elasticnas.search.loop import require_possible
from elasticnas.service.database import now
from elasticnas.service.datasets import repository as datasets
from elasticnas.service.datasets.rows import relabelled
from elasticnas.service.datasets.tables import DatasetRow
from elasticnas.service.idempotency import KeyOfRequest, add_once, earlier
from elasticnas.service.identity import new_id
from elasticnas.service.jobs.creation import require_learnt
from elasticnas.service.meta.description import packages_missing
from elasticnas.service.principal import Principal
from elasticnas.service.runtime import Service
from elasticnas.service.searches import repository
from elasticnas.service.searches.active import problem_of
from elasticnas.service.searches.kept_weights import require_room
from elasticnas.service.searches.tables import SearchRow
from elasticnas.service.supernets import repository as supernets
from elasticnas.service.supernets.report_cache import ReportedSupernet
from elasticnas.service.supernets.tables import SupernetRow
from elasticnas.service.supernets.views import require_ready
from elasticnas.tasks import METRICS, TASKS, Task
from elasticnas.tasks.task import Head


@dataclass(frozen=True)
class Relabelling:
    """What the labels of a search's rows become: label i is class ``classes[i]``, None: label i.

    ``verify_classes`` are those of the other dataset that its front is verified on,
    ``train_classes`` those of the one that subnets are trained on.
    """

    classes: tuple[int, ...] | None
    verify_classes: tuple[int, ...] | None
    train_classes: tuple[int, ...] | None


def create(
    service: Service,
    principal: Principal,
    body: SearchCreate,
    key: KeyOfRequest | None,
    asked: dict[str, Any] | None = None,
) -> SearchRow:
    """The new search, queued; or the one that the same request has created before.

    ``asked`` is the body as the client wrote it; None where nobody did.

    Raises:
        InputError, ProblemError: the search is impossible, or the key belongs to another body.
    """
    with service.database.read() as session:
        if (before := earlier(session, principal, SearchRow, key)) is not None:
            return before
        row, relabelling = _resolve(session, service, principal, body)
    row.asked = asked
    _relabel(service, row, relabelling)

    def add(session: Session) -> None:
        # What the search refers to may have been deleted since it was looked up.
        _references(session, principal, body)
        repository.add(session, row)

    row = add_once(service.database, principal, row, key, add)
    if service.coordinator is not None:
        service.coordinator.wake()
    return row


def _references(
    session: Session, principal: Principal, body: SearchCreate
) -> tuple[SupernetRow, DatasetRow]:
    supernet = supernets.found(session, principal, body.supernet_id, field="supernet_id")
    require_ready(supernet)
    return supernet, datasets.found(session, principal, body.dataset_id, field="dataset_id")


def _resolve(
    session: Session, service: Service, principal: Principal, body: SearchCreate
) -> tuple[SearchRow, Relabelling]:
    """The row of a search whose defaults are filled in and whose parts fit together.

    With it the classes of its data's labels, which its digests do not have yet.
    """
    supernet, dataset = _references(session, principal, body)
    reported = service.reports.get(session, supernet.id)
    classes = classes_of(reported.report, dataset)
    task = TASKS[dataset.task]
    length = body.max_length or reported.report.reference_length
    if length > reported.report.max_positions:
        raise InputError(
            f"the super-network carries at most {reported.report.max_positions} positions",
            field="max_length",
            value=length,
        )
    request = body.model_copy(
        update={
            "max_length": length,
            "objectives": body.objectives or [dataset.metric, _usual_cost(reported, length)],
            "task_settings": _settled(task, body, dataset, length) or None,
        }
    )
    request = _with_its_training(request)
    if service.coordinator is not None:  # else others drive, who may have what this one lacks
        _require_packages(request)
    _require_metrics(request, task)
    _require_costs(request, reported.report)
    _require_raceable(request, task)
    verifying = _verifying(session, principal, request, dataset)
    if verifying is not None:
        _require_settings(task, request, verifying)
    training = _training(session, principal, request, dataset, reported.report)
    require_room(request, reported, service.settings.trained_weights_bytes)
    problem = problem_of(request, reported, length)
    require_possible(request, problem, lambda subnet: reported.cost(subnet, length))
    objectives = problem.objectives
    relabelling = Relabelling(
        classes,
        None if verifying is None else classes_of(reported.report, verifying, "verify_dataset_id"),
        None if training is None else classes_of(reported.report, training, TRAINED_ON),
    )
    row = SearchRow(
        id=new_id("search"),
        owner=principal.owner,
        name=body.name,
        state=SearchState.QUEUED,
        request=request.model_dump(mode="json"),
        supernet_id=supernet.id,
        dataset_id=dataset.id,
        supernet_digest=supernet.digest,
        dataset_digest=dataset.digest,
        task=task.name,
        max_length=length,
        precision=None if request.precision == "auto" else request.precision,
        verify_share=request.verify or 0.0,
        verify_dataset_id=None if verifying is None else verifying.id,
        verify_dataset_digest=None if verifying is None else verifying.digest,
        train_dataset_id=None if training is None else training.id,
        train_dataset_digest=None if training is None else training.digest,
        reference_point=objectives.reference_point,
        created_at=now(),
    )
    return row, relabelling


def _relabel(service: Service, row: SearchRow, relabelling: Relabelling) -> None:
    """Let the search measure on rows whose labels are the super-network's classes.

    They are stored as rows like any others, so that workers, and answers from the database, which
    know rows by their digest alone, need not know of names.
    """
    scratch = service.settings.incoming_dir
    if relabelling.classes is not None:
        row.dataset_digest = relabelled(
            service.blobs, row.dataset_digest, relabelling.classes, scratch
        )
    if relabelling.verify_classes is not None and row.verify_dataset_digest is not None:
        row.verify_dataset_digest = relabelled(
            service.blobs, row.verify_dataset_digest, relabelling.verify_classes, scratch
        )
    if relabelling.train_classes is not None and row.train_dataset_digest is not None:
        row.train_dataset_digest = relabelled(
            service.blobs, row.train_dataset_digest, relabelling.train_classes, scratch
        )
    if row.verify_dataset_digest == row.dataset_digest:
        raise _same_rows(row.task, row.verify_dataset_id)


def _same_rows(task: str, dataset_id: str | None) -> InputError:
    return InputError(
        "the front must be verified on other rows, for the same task",
        field="verify_dataset_id",
        value=dataset_id,
        remedy=f"choose another dataset of {task}",
    )


def _verifying(
    session: Session, principal: Principal, request: SearchCreate, dataset: DatasetRow
) -> DatasetRow | None:
    """The dataset that the front is to be measured on at the end, when it is another one."""
    if (split := request.verification_split) is not None:
        aside = split.count(dataset.rows)
        if not 2 <= aside <= dataset.rows - 2:
            raise InputError(
                f"of the dataset's {dataset.rows} rows {aside} would verify the front; two at "
                "least must, and two must be left to search on",
                field="verify",
                value=request.verify,
            )
    if request.verify_dataset_id is None:
        return None
    found = datasets.found(session, principal, request.verify_dataset_id, field="verify_dataset_id")
    if found.task != dataset.task:
        raise _same_rows(dataset.task, found.id)
    return found


def _with_its_training(request: SearchCreate) -> SearchCreate:
    """What a fine-tuning does not say of rows is as the search measures; its precision is set."""
    asked = request.fine_tune
    if asked is None:
        return request
    usual = {"max_length": request.max_length, "task_settings": request.task_settings or {}}
    left_out = {name: each for name, each in usual.items() if name not in asked.model_fields_set}
    evaluation = Evaluation(fine_tune=asked.model_copy(update=left_out))
    update = {"evaluation": evaluation, "precision": Precision.FLOAT32}
    return request.model_copy(update=update)


def _training(
    session: Session,
    principal: Principal,
    request: SearchCreate,
    dataset: DatasetRow,
    report: SupernetReport,
) -> DatasetRow | None:
    """The dataset that every subnet is fine-tuned on, if it is.

    Raises:
        InputError: it cannot be learnt from, or is measured on; there are no adapters to train; or
            rows would be longer than the model.
    """
    asked = request.fine_tune
    if asked is None:
        return None
    if asked.trained is Trained.ADAPTERS and not report.has_adapters:
        raise no_adapters("evaluation/fine_tune/trained")
    if asked.max_length > report.max_positions:
        raise InputError(
            f"the super-network carries at most {report.max_positions} positions",
            field="evaluation/fine_tune/max_length",
            value=asked.max_length,
        )
    found = datasets.found(session, principal, asked.dataset_id, field=TRAINED_ON)
    require_other_rows(dataset.task, found, TRAINED_ON)
    by_heart = {dataset.id, dataset.digest, request.verify_dataset_id}
    if {found.id, found.digest} & by_heart:
        raise learnt_by_heart(found.id, TRAINED_ON)
    return found


TRAINED_ON = "evaluation/fine_tune/dataset_id"
"""The field of a request that names the dataset to train on."""


def require_other_rows(task: str, dataset: DatasetRow, field: str) -> None:
    """A subnet found for ``task`` can learn from a dataset.

    Raises:
        InputError: it is for another task, or for one that no recipe trains on.
    """
    if dataset.task != task:
        raise InputError(
            f"the subnet is for {task}",
            field=field,
            value=dataset.task,
            remedy=f"choose a dataset of {task}",
        )
    require_learnt(dataset, field)


def learnt_by_heart(dataset_id: str, field: str) -> InputError:
    """Of rows to train on that are measured on too."""
    return InputError(
        "the search measures on these very rows: a subnet that learns them by heart would "
        "measure well and be no better",
        field=field,
        value=dataset_id,
        remedy="register the rows to train on as a dataset of their own",
    )


def no_adapters(field: str) -> InputError:
    """Of a training of adapters where there are none."""
    return InputError(
        "the super-network has no adapters",
        field=field,
        value=Trained.ADAPTERS.value,
        remedy=f"train {Trained.ALL.value} weights",
    )


def _require_packages(request: SearchCreate) -> None:
    missing = packages_missing(request.strategy)
    if missing:
        raise InputError(
            f"this strategy needs {', '.join(missing)}, which this server lacks",
            field="strategy/name",
            value=request.strategy.name,
            remedy=f"choose another, or have the operator run 'pip install {' '.join(missing)}'",
        )


def _require_metrics(request: SearchCreate, task: Task) -> None:
    metrics = [metric.name for metric in task.metrics]
    for index, name in enumerate(request.objectives or ()):
        if not is_cost(name) and name not in metrics:
            raise InputError(
                f"the dataset's task, {task.name}, is not measured by this metric"
                if name in METRICS
                else "this is neither a metric nor a cost",
                field=f"objectives/{index}",
                value=name,
                remedy=f"choose from {', '.join(metrics)} and {', '.join(Cost)}",
            )


def _usual_cost(supernet: ReportedSupernet, max_length: int) -> Cost:
    """GFLOPs; non-zero parameters where subnets differ in ranks alone, which are merged."""
    ends = (supernet.space.maximal, supernet.space.minimal)
    largest, smallest = (supernet.cost(subnet, max_length) for subnet in ends)
    return Cost.GFLOPS if smallest.gflops < largest.gflops else Cost.NONZERO_PARAMS


def _require_costs(request: SearchCreate, report: SupernetReport) -> None:
    """Every cost that is minimised or bounded must be known of this super-network."""
    known = report.cost_model.costs
    asked = [
        (f"objectives/{index}", Cost(name))
        for index, name in enumerate(request.objectives or ())
        if is_cost(name)
    ]
    asked += [(f"constraints/{index}", each.cost) for index, each in enumerate(request.constraints)]
    for field, cost in asked:
        if cost not in known:
            raise InputError(
                "this cost is not known of the super-network: only a language model keeps keys and "
                "values, and one that an earlier version registered was not asked for all costs",
                field=field,
                value=cost.value,
                remedy=f"choose from {', '.join(known)}; or register the super-network again",
            )


def _require_raceable(request: SearchCreate, task: Task) -> None:
    """Races compare rows that are right or wrong, and no other metric is a count of those."""
    if request.racing is None:
        return
    metrics = [name for name in request.objectives or () if not is_cost(name)]
    if task.raced is None:
        raise InputError(
            f"rows of {task.name} are not right or wrong, so that no race can be run",
            field="racing",
            value=request.racing.confidence,
            remedy="leave racing out",
        )
    if metrics != [task.raced.name]:
        raise InputError(
            f"a search of {task.name} races by {task.raced.name} alone, and this one's metrics are "
            f"{', '.join(metrics)}",
            field="racing",
            value=request.racing.confidence,
            remedy=f"let objectives be {task.raced.name} and costs, or leave racing out",
        )


def _settled(
    task: Task, body: SearchCreate, dataset: DatasetRow, max_length: int
) -> dict[str, Any]:
    """The settings of the task: the request's, else the dataset's, else the defaults.

    Raises:
        InputError: about ``task_settings/...``: one is wrong, or does not fit the dataset.
    """
    given = {**(dataset.task_settings or {}), **(body.task_settings or {})}
    settings = task.settle(given, dataset.known())
    task.require_length(settings, max_length)
    return settings.said()


def _require_settings(task: Task, request: SearchCreate, verifying: DatasetRow) -> None:
    """The search's settings fit the dataset that verifies its front.

    Raises:
        InputError: about ``verify_dataset_id``: they do not.
    """
    try:
        task.settle(request.task_settings or {}, verifying.known())
    except InputError as error:
        raise InputError(
            f"the search's {error.field} does not fit this dataset: {error.detail}",
            field="verify_dataset_id",
            value=error.value,
            remedy=error.remedy,
        ) from error


def classes_of(
    report: SupernetReport, dataset: DatasetRow, field: str = "dataset_id"
) -> tuple[int, ...] | None:
    """The class of the super-network for each label of the dataset; None where it is the label.

    Raises:
        InputError: the head predicts something else, or a label is none of its classes.
    """
    task = TASKS[dataset.task]
    head = Head(report.num_labels, report.label_names, report.head)
    task.require_head(head, field)
    return task.fit(head, dataset.known().labels, field)
