"""What is asked all the time does not read through a search: SQLite's steps are counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import insert, inspect, select
from sqlalchemy.orm import Session

from elasticnas.service.principal import DEFAULT_OWNER, Principal
from elasticnas.service.runtime import Service
from elasticnas.service.searches import dispatch_repository as dispatches
from elasticnas.service.searches import evaluation_repository as evaluations
from elasticnas.service.searches import front_repository as fronts
from elasticnas.service.searches import repository, views
from elasticnas.service.searches.tables import EvaluationRow, SearchRow
from tests.service.running import Running

EVALUATIONS = 24
GROWN = 3000


def poll(session: Session, service: Service, search_id: str) -> None:
    row = session.get_one(SearchRow, search_id)
    views.read_searches(session, service.reports, [row], service.present)


def answers(session: Session, search_id: str) -> None:
    keys = session.scalars(select(EvaluationRow.subnet_key).limit(16)).all()
    known = evaluations.measured(session, session.get_one(SearchRow, search_id), keys)
    assert known.keys() == {(key, None) for key in keys}


ASKED: dict[str, Callable[[Session, Service, str], object]] = {
    "a poll of the search": poll,
    "a poll of its front": lambda session, _, search_id: fronts.points(session, search_id),
    "a poll of its revision": lambda session, _, search_id: repository.front_revision(
        session, Principal(DEFAULT_OWNER), search_id
    ),
    "a page": lambda session, _, search_id: evaluations.page(
        session, search_id, evaluations.Wanted(), after=(5, 5), limit=10
    ),
    "the results since the last look": lambda session, _, search_id: evaluations.recorded(
        session, search_id, ["number", "metrics"], after=EVALUATIONS - 5, limit=10
    ),
    "a look for results": lambda session, _, search_id: dispatches.waiting(session, [search_id]),
    "a look for answers": lambda session, _, search_id: answers(session, search_id),
    "a count of what runs": lambda session, _, search_id: dispatches.count_running(
        session, search_id
    ),
}


@pytest.fixture
def searched(light_service: Running) -> tuple[Service, str]:
    """A service, and a search that is over."""
    search_id = light_service.search(budget={"evaluations": EVALUATIONS})
    light_service.wait(search_id)
    return light_service.client.app.state.service, search_id  # type: ignore[attr-defined]


def steps(service: Service, search_id: str, ask: Callable[[Session, Service, str], object]) -> int:
    """How many instructions SQLite's machine needs to answer."""
    taken = [0]

    def count() -> None:
        taken[0] += 1

    with service.database.read() as session:
        connection = session.connection().connection.driver_connection
        assert connection is not None
        connection.set_progress_handler(count, 1)
        try:
            ask(session, service, search_id)
        finally:
            connection.set_progress_handler(None, 0)
    return taken[0]


def grow(service: Service, search_id: str) -> None:
    """Many more evaluations like the last, none of them on the front."""
    with service.database.write() as session:
        last = session.get_one(EvaluationRow, (search_id, EVALUATIONS - 1))
        columns = [attribute.key for attribute in inspect(EvaluationRow).column_attrs]
        like = {name: getattr(last, name) for name in columns}
        session.execute(
            insert(EvaluationRow),
            [
                {**like, "number": number, "sequence": number + 1, "subnet_key": f"{number}"}
                for number in range(EVALUATIONS, GROWN)
            ],
        )


@pytest.mark.parametrize("what", ASKED)
def test_a_search_that_grows_is_asked_as_cheaply(searched: tuple[Service, str], what: str):
    service, search_id = searched
    before = steps(service, search_id, ASKED[what])
    grow(service, search_id)
    assert steps(service, search_id, ASKED[what]) < 2 * before


def test_pages_and_fronts_agree_on_every_evaluation(searched: tuple[Service, str]):
    service, search_id = searched
    with service.database.read() as session:
        numbers = fronts.members(session, search_id)
        everything = evaluations.of_search(session, search_id)
        space = service.reports.get(
            session, session.get_one(SearchRow, search_id).supernet_id
        ).space
        expected = [
            views.read_evaluation(row, space, numbers)
            for row in everything
            if row.number in numbers
        ]
        found = [
            views.read_evaluation(row, space, numbers) for row in fronts.points(session, search_id)
        ]
    assert expected
    assert found == expected
