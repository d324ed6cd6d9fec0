"""Evaluations that a request names: they are there, and completed."""

from __future__ import annotations

from sqlalchemy.orm import Session

from elasticnas.api_schemas.searches import EvaluationState
from elasticnas.service.http.problems import not_found, refuse
from elasticnas.service.searches import evaluation_repository as evaluations
from elasticnas.service.searches.tables import EvaluationRow


def found(session: Session, search_id: str, number: int) -> EvaluationRow:
    """One evaluation of a search.

    Raises:
        ProblemError: 404, there is none of this number.
    """
    return _there(evaluations.of_number(session, search_id, number), search_id, number)


def completed(session: Session, search_id: str, number: int) -> EvaluationRow:
    """One evaluation that was measured on every row.

    Raises:
        ProblemError: 404, there is none of this number; 409, it is not completed.
    """
    return _completed(found(session, search_id, number))


def with_outcomes(session: Session, search_id: str, *numbers: int) -> list[EvaluationRow]:
    """Completed evaluations in this order, with what is kept of single rows.

    Raises:
        ProblemError: 404 or 409, as `completed`.
    """
    rows = evaluations.with_outcomes(session, search_id, numbers)
    return [_completed(_there(rows.get(number), search_id, number)) for number in numbers]


def _there(row: EvaluationRow | None, search_id: str, number: int) -> EvaluationRow:
    if row is None:
        raise not_found("evaluation", f"{number} of search {search_id}")
    return row


def _completed(row: EvaluationRow) -> EvaluationRow:
    if row.state != EvaluationState.COMPLETED:
        raise refuse("not-completed", f"evaluation {row.number} is {row.state}")
    return row
