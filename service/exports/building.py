"""Asking a worker for a subnet's weights, once, and knowing how far it is."""

from __future__ import annotations

import logging
import re
from datetime import timedelta

import sqlalchemy.exc
from sqlalchemy.orm import Session

from elasticnas.api_schemas.messages import ExportSubnet
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.searches import EvaluationState, SearchCreate
from elasticnas.api_schemas.weights import SubnetCard, WeightsFormat
from elasticnas.service.database import clock, now
from elasticnas.service.datasets.tables import DatasetRow
from elasticnas.service.exports import repository
from elasticnas.service.exports.tables import ExportRow, ExportState
from elasticnas.service.http.problems import ProblemError, not_found, problem, refuse
from elasticnas.service.identity import new_id
from elasticnas.service.queue import QueueUnavailableError
from elasticnas.service.runtime import Service
from elasticnas.service.searches.tables import EvaluationRow, SearchRow
from elasticnas.service.supernets.tables import SupernetRow

log = logging.getLogger(__name__)


def export_of(
    service: Service, search_id: str, number: int, weights_format: WeightsFormat
) -> tuple[ExportRow, str]:
    """The export of a subnet, asked for if need be; and the name of the folder it holds.

    A failed export is reported once and then forgotten, so that asking again tries again.

    Raises:
        ProblemError: there is no such evaluation, it is not completed, or the export failed.
    """
    if (known := _settled(service, search_id, number, weights_format)) is not None:
        return known
    lost = _lost_archive(service, search_id, number, weights_format)
    try:
        row, message = _look_or_place(service, search_id, number, weights_format, lost)
    except sqlalchemy.exc.IntegrityError:  # somebody else asked at the same moment
        row, message = _look_or_place(service, search_id, number, weights_format, lost)
    if row.state == ExportState.FAILED:
        stored = row.problem
        unexplained = problem("export-failed", "the worker gave no reason")
        raise ProblemError(Problem.model_validate(stored) if stored else unexplained)
    if message is not None:
        try:
            _send(service, message)
        except QueueUnavailableError as error:
            with service.database.write() as session:
                if (placed := session.get(ExportRow, row.id)) is not None:
                    session.delete(placed)
            raise refuse("queue-unavailable", "the message broker does not answer") from error
    with service.database.read() as session:
        return row, _folder(session, search_id, number)


def resend_exports(service: Service) -> None:
    """Ask again for every export whose message the queue has lost.

    Raises:
        QueueUnavailableError: the broker cannot be reached; this must be called again.
    """
    with service.database.read() as session:
        pending = repository.pending(session)
    if not pending:
        return
    generation = service.queue.generation()
    for row in pending:
        if row.sent_generation != generation:
            with service.database.write() as session:
                message = _ask_again(session, service, row.id)
            if message is not None:
                _send(service, message)


def _ask_again(session: Session, service: Service, export_id: str) -> ExportSubnet | None:
    row = session.get(ExportRow, export_id)
    if row is None or row.state != ExportState.PENDING:
        return None
    row.sent_at = clock(session)
    evaluation = session.get_one(EvaluationRow, (row.search_id, row.number))
    return _message(session, service, row, evaluation)


def _send(service: Service, message: ExportSubnet) -> None:
    """Raises `QueueUnavailableError`."""
    service.queue.send(message)
    generation = service.queue.generation()
    with service.database.write() as session:
        repository.mark_sent(session, message.export_id, generation)


def _settled(
    service: Service, search_id: str, number: int, weights_format: WeightsFormat
) -> tuple[ExportRow, str] | None:
    """The export and its folder if nothing need be written down: it is there, or on its way.

    Reading takes no lock, so that many may poll.
    """
    with service.database.read() as session:
        row = repository.of_subnet(session, search_id, number, weights_format)
        if row is None or row.state == ExportState.FAILED:
            return None
        if row.state == ExportState.PENDING and _is_late(session, service, row):
            return None
        folder = _folder(session, search_id, number)
    if row.digest is not None and not service.blobs.exists(row.digest):
        return None
    return row, folder


def _is_late(session: Session, service: Service, row: ExportRow) -> bool:
    """Whether a worker should have built it by now."""
    return clock(session) - row.sent_at >= timedelta(seconds=service.settings.export_lease_seconds)


def _lost_archive(
    service: Service, search_id: str, number: int, weights_format: WeightsFormat
) -> str | None:
    """The digest of the finished archive if it was cleared away from blob storage.

    Asked outside the transaction, as the store may be slow to answer.
    """
    with service.database.read() as session:
        row = repository.of_subnet(session, search_id, number, weights_format)
        digest = None if row is None else row.digest
    return digest if digest is not None and not service.blobs.exists(digest) else None


def _look_or_place(
    service: Service,
    search_id: str,
    number: int,
    weights_format: WeightsFormat,
    lost: str | None,
) -> tuple[ExportRow, ExportSubnet | None]:
    """The row, and the message that must be sent for it, if one must."""
    with service.database.write() as session:
        evaluation = _completed(session, search_id, number)
        row = repository.of_subnet(session, search_id, number, weights_format)
        if row is not None and row.state == ExportState.FAILED:
            session.delete(row)
            return row, None
        if row is not None and row.state == ExportState.READY:
            if row.digest != lost:
                return row, None
            session.delete(row)  # build it again
            session.flush()
            row = None
        if row is not None:
            if not _is_late(session, service, row):
                return row, None
            row.sent_at = clock(session)
        else:
            row = ExportRow(
                id=new_id("export"),
                search_id=search_id,
                number=number,
                format=weights_format,
                state=ExportState.PENDING,
                requested_at=now(),
                sent_at=clock(session),
            )
            session.add(row)
        return row, _message(session, service, row, evaluation)


def _completed(session: Session, search_id: str, number: int) -> EvaluationRow:
    if session.get(SearchRow, search_id) is None:
        raise not_found("search", search_id)
    evaluation = session.get(EvaluationRow, (search_id, number))
    if evaluation is None:
        raise not_found("evaluation", f"{number} of search {search_id}")
    if evaluation.state != EvaluationState.COMPLETED:
        raise refuse("not-completed", f"evaluation {number} is {evaluation.state}")
    return evaluation


def _message(
    session: Session, service: Service, row: ExportRow, evaluation: EvaluationRow
) -> ExportSubnet:
    search = session.get_one(SearchRow, row.search_id)
    supernet = session.get_one(SupernetRow, search.supernet_id)
    dataset = session.get_one(DatasetRow, search.dataset_id)
    space = service.known.get(session, supernet.id).space
    return ExportSubnet(
        export_id=row.id,
        supernet_digest=search.supernet_digest,
        subnet=dict(space.decode(evaluation.choices)),
        format=WeightsFormat(row.format),
        folder=_folder(session, row.search_id, row.number),
        card=SubnetCard(
            supernet_name=supernet.name,
            dataset_name=dataset.name,
            dataset_rows=SearchCreate.model_validate(search.request).searched_rows(dataset.rows),
            search_id=row.search_id,
            number=row.number,
            metrics=evaluation.metrics or {},
            cost=evaluation.cost,
            max_length=search.max_length,
            precision=None if evaluation.precision is None else Precision(evaluation.precision),
        ),
    )


def _folder(session: Session, search_id: str, number: int) -> str:
    """A name of letters, digits and hyphens, after the super-network and the evaluation."""
    search = session.get_one(SearchRow, search_id)
    name = session.get_one(SupernetRow, search.supernet_id).name
    stem = re.sub(r"\.(tar\.gz|tgz|tar|zip)$", "", name, flags=re.IGNORECASE)
    slug = re.sub(r"[^A-Za-z0-9]+", "-", stem).strip("-")[:60]
    return f"{slug or 'subnet'}-{number}"
