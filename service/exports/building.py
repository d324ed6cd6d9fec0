"""Asking a worker for a subnet's weights, once, and knowing how far it is."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy.exc
from sqlalchemy.orm import Session

from elasticnas.api_schemas.halving import RungRead
from elasticnas.api_schemas.messages import ExportSubnet
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.searches import SearchCreate
from elasticnas.api_schemas.training_starts import StartedFrom
from elasticnas.api_schemas.weights import FinetunedCard, SubnetCard, WeightsFormat
from elasticnas.service.database import clock, now
from elasticnas.service.datasets import repository as datasets
from elasticnas.service.exports import repository
from elasticnas.service.exports.tables import ExportRow, ExportState
from elasticnas.service.http.problems import ProblemError, problem, refuse
from elasticnas.service.identity import new_id
from elasticnas.service.principal import Principal
from elasticnas.service.queue import QueueUnavailableError
from elasticnas.service.runtime import Service
from elasticnas.service.searches import evaluation_repository as evaluations
from elasticnas.service.searches import lookup
from elasticnas.service.searches import repository as searches
from elasticnas.service.searches.conditions import conditions_of
from elasticnas.service.searches.tables import EvaluationRow, SearchRow
from elasticnas.service.supernets import repository as supernets

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Weights:
    """The weights that a request asks for: of one evaluation, in one format."""

    principal: Principal
    search_id: str
    number: int
    format: WeightsFormat


SENDING = timedelta(seconds=30)
"""How long a process may take from writing down that it asks until the message is sent."""


def export_of(service: Service, weights: Weights) -> tuple[ExportRow, str]:
    """The export of a subnet, asked for if need be; and the name of the folder it holds.

    A failed export is reported once and then forgotten, so that asking again tries again.

    Raises:
        ProblemError: there is no such evaluation, it is not completed, or the export failed.
    """
    if (settled := _settled(service, weights)) is not None:
        return settled
    lost = _lost_archive(service, weights)
    try:
        row, folder, message = _look_or_place(service, weights, lost)
    except sqlalchemy.exc.IntegrityError:  # another request asked at the same moment
        row, folder, message = _look_or_place(service, weights, lost)
    if row.state == ExportState.FAILED:
        stored = row.problem
        unexplained = problem("export-failed", "the worker gave no reason")
        raise ProblemError(Problem.model_validate(stored) if stored else unexplained)
    if message is not None:
        try:
            _send(service, message)
        except QueueUnavailableError as error:
            with service.database.write() as session:
                if (placed := repository.by_id(session, row.id)) is not None:
                    repository.remove(session, placed)
            raise refuse("queue-unavailable", "the message broker does not answer") from error
    return row, folder


def resend_exports(service: Service) -> None:
    """Ask again for every export whose message the queue has lost.

    Raises:
        QueueUnavailableError: the broker cannot be reached; this must be called again.
    """
    with service.database.read() as session:
        pending, moment = repository.pending(session), clock(session)
    if not pending:
        return
    generation = service.queue.generation()
    for row in pending:
        if _is_unsent(row, generation, moment):
            with service.database.write() as session:
                message = _ask_again(session, service, row.id, generation)
            if message is not None:
                _send(service, message)


def _is_unsent(row: ExportRow, generation: str, moment: datetime) -> bool:
    """Whether the queue of this generation has no message of it, and nobody is sending one."""
    is_being_sent = row.sent_generation is None and moment - row.sent_at < SENDING
    return row.sent_generation != generation and not is_being_sent


def _ask_again(
    session: Session, service: Service, export_id: str, generation: str
) -> ExportSubnet | None:
    """The message to send; None if another process has sent it, or is sending it, meanwhile."""
    row = repository.by_id(session, export_id, lock=True)
    if row is None or row.state != ExportState.PENDING:
        return None
    moment = clock(session)
    if not _is_unsent(row, generation, moment):
        return None
    row.sent_at, row.sent_generation = moment, None
    search = searches.by_id(session, row.search_id)
    evaluation = evaluations.of_number(session, row.search_id, row.number)
    return None if evaluation is None else _message(session, service, row, search, evaluation)


def _send(service: Service, message: ExportSubnet) -> None:
    """Raises `QueueUnavailableError`."""
    service.queue.send(message)
    generation = service.queue.generation()
    with service.database.write() as session:
        repository.mark_sent(session, message.export_id, generation)


def _settled(service: Service, weights: Weights) -> tuple[ExportRow, str] | None:
    """The export and its folder if nothing need be written down: it is there, or on its way.

    Reading takes no lock, so that many may poll.
    """
    with service.database.read() as session:
        search = searches.found(session, weights.principal, weights.search_id)
        row = repository.of_subnet(session, search.id, weights.number, weights.format)
        if row is None or row.state == ExportState.FAILED:
            return None
        if row.state == ExportState.PENDING and _is_late(session, service, row):
            return None
        folder = _folder(session, search, weights.number)
    if row.digest is not None and not service.blobs.exists(row.digest):
        return None
    return row, folder


def _is_late(session: Session, service: Service, row: ExportRow) -> bool:
    """Whether a worker should have built it by now."""
    return clock(session) - row.sent_at >= timedelta(seconds=service.settings.export_lease_seconds)


def _lost_archive(service: Service, weights: Weights) -> str | None:
    """The digest of the finished archive if it was cleared away from blob storage.

    Asked outside the transaction, as the store may be slow to answer.
    """
    with service.database.read() as session:
        row = repository.of_subnet(session, weights.search_id, weights.number, weights.format)
        digest = None if row is None else row.digest
    return digest if digest is not None and not service.blobs.exists(digest) else None


def _look_or_place(
    service: Service, weights: Weights, lost: str | None
) -> tuple[ExportRow, str, ExportSubnet | None]:
    """The row, the name of its folder, and the message that must be sent for it, if one must."""
    with service.database.write() as session:
        search = searches.found(session, weights.principal, weights.search_id)
        evaluation = lookup.completed(session, search.id, weights.number)
        folder = _folder(session, search, weights.number)
        row = repository.of_subnet(session, search.id, weights.number, weights.format)
        if row is not None and row.state == ExportState.FAILED:
            repository.remove(session, row)
            return row, folder, None
        if row is not None and row.state == ExportState.READY:
            if row.digest != lost:
                return row, folder, None
            repository.remove(session, row)  # build it again
            row = None
        if row is not None:
            if not _is_late(session, service, row):
                return row, folder, None
            row.sent_at = clock(session)
        else:
            row = ExportRow(
                id=new_id("export"),
                search_id=search.id,
                number=weights.number,
                format=weights.format,
                state=ExportState.PENDING,
                requested_at=now(),
                sent_at=clock(session),
            )
            repository.add(session, row)
        return row, folder, _message(session, service, row, search, evaluation)


def _message(
    session: Session,
    service: Service,
    row: ExportRow,
    search: SearchRow,
    evaluation: EvaluationRow,
) -> ExportSubnet:
    space = service.reports.get(session, search.supernet_id).space
    return ExportSubnet(
        export_id=row.id,
        supernet_digest=search.supernet_digest,
        subnet=dict(space.decode(evaluation.choices)),
        format=WeightsFormat(row.format),
        folder=_folder(session, search, row.number),
        card=card_of(session, search, evaluation),
        task=search.task,
        fine_tuning=conditions_of(search).fine_tuning,
        trained=evaluation.weights,
    )


def card_of(session: Session, search: SearchRow, evaluation: EvaluationRow) -> SubnetCard:
    """What the model card of a measured subnet says."""
    dataset = datasets.by_id(session, search.dataset_id)
    finetuned = None
    if search.train_dataset_id is not None:
        learnt = datasets.by_id(session, search.train_dataset_id)
        start = evaluation.start
        finetuned = FinetunedCard(
            dataset_name=learnt.name,
            dataset_rows=learnt.rows,
            start=None if start is None else StartedFrom.model_validate(start),
            rungs=[RungRead.model_validate(each) for each in evaluation.rungs or ()],
        )
    return SubnetCard(
        supernet_name=supernets.name(session, search.supernet_id),
        dataset_name=dataset.name,
        dataset_rows=SearchCreate.model_validate(search.request).searched_rows(dataset.rows),
        search_id=search.id,
        number=evaluation.number,
        metrics=evaluation.metrics or {},
        cost=evaluation.cost,
        max_length=search.max_length,
        finetuned=finetuned,
        precision=None if evaluation.precision is None else Precision(evaluation.precision),
    )


def _folder(session: Session, search: SearchRow, number: int) -> str:
    """A name of letters, digits and hyphens, after the super-network and the evaluation."""
    name = supernets.name(session, search.supernet_id)
    stem = re.sub(r"\.(tar\.gz|tgz|tar|zip)$", "", name, flags=re.IGNORECASE)
    slug = re.sub(r"[^A-Za-z0-9]+", "-", stem).strip("-")[:60]
    return f"{slug or 'subnet'}-{number}"
