"""Which coordinator drives a search, on both databases."""

from __future__ import annotations

import threading
from datetime import timedelta

from sqlalchemy import select, update

from elasticnas.api_schemas.searches import SearchState
from elasticnas.service.database import Database, clock, now
from elasticnas.service.datasets.tables import DatasetRow
from elasticnas.service.searches.lease import Lease
from elasticnas.service.searches.tables import CoordinatorRow, SearchRow
from elasticnas.service.supernets.tables import SupernetRow


def lease(database: Database, *, seconds: float = 60, exclusive: bool = False) -> Lease:
    made = Lease(database, seconds=seconds, exclusive=exclusive)
    made.renew()
    return made


def searches(database: Database, count: int, state: SearchState = SearchState.QUEUED) -> list[str]:
    ids = [f"search-{state}-{i:02}" for i in range(count)]
    with database.write() as session:
        if session.get(SupernetRow, "net") is None:
            session.add(
                SupernetRow(
                    id="net",
                    owner="o",
                    name="n",
                    state="ready",
                    digest="d",
                    size_bytes=1,
                    created_at=now(),
                )
            )
            session.add(
                DatasetRow(
                    id="data",
                    owner="o",
                    name="d",
                    task="text-classification",
                    metric="accuracy",
                    rows=1,
                    text_columns=["t"],
                    label_column="l",
                    num_labels=2,
                    digest="d",
                    size_bytes=1,
                    created_at=now(),
                )
            )
            session.flush()
        for id_ in ids:
            session.add(
                SearchRow(
                    id=id_,
                    owner="o",
                    state=state,
                    request={},
                    supernet_id="net",
                    dataset_id="data",
                    supernet_digest="d",
                    dataset_digest="d",
                    task="text-classification",
                    max_length=8,
                    reference_point={},
                    created_at=now(),
                )
            )
    return ids


def expire(database: Database, who: Lease) -> None:
    with database.write() as session:
        session.execute(
            update(CoordinatorRow)
            .where(CoordinatorRow.id == who.id)
            .values(expires_at=clock(session) - timedelta(seconds=1))
        )


def test_one_coordinator_takes_everything(database: Database):
    ids = searches(database, 5)
    assert list(lease(database).claim()) == ids


def test_what_one_drives_another_leaves_alone(database: Database):
    first, second = lease(database), lease(database)
    searches(database, 6)
    mine = set(first.claim())
    theirs = set(second.claim())
    assert mine
    assert theirs
    assert not mine & theirs
    for _ in range(4):
        mine, theirs = set(first.claim()), set(second.claim())
    assert len(mine | theirs) == 6
    assert not mine & theirs


def test_each_takes_a_share_of_what_is_free(database: Database):
    first, _second = lease(database), lease(database)
    searches(database, 6)
    assert len(first.claim()) == 3


def test_the_searches_of_one_that_died_are_taken_over(database: Database):
    dead, heir = lease(database), lease(database)
    ids = searches(database, 2)
    while len(dead.claim()) < 2:
        pass
    assert list(heir.claim()) == []
    expire(database, dead)
    assert list(heir.claim()) == ids
    dead.renew()
    assert list(dead.claim()) == []


def test_one_that_stops_gives_its_searches_back_at_once(database: Database):
    first, second = lease(database), lease(database)
    ids = searches(database, 2)
    while len(first.claim()) < 2:
        pass
    first.stop()
    assert list(second.claim()) == ids
    with database.read() as session:
        assert session.scalars(select(CoordinatorRow.id)).all() == [second.id]


def test_alone_it_takes_what_a_killed_process_held(database: Database):
    killed = lease(database)
    ids = searches(database, 2)
    killed.claim()
    assert list(lease(database, exclusive=True).claim()) == ids


def test_only_unfinished_searches_are_driven(database: Database):
    for state in SearchState:
        searches(database, 1, state)
    assert {id_.split("-")[1] for id_ in lease(database).claim()} == {"queued", "running"}


def test_many_that_claim_at_once_never_share_a_search(database: Database):
    ids = searches(database, 40)
    leases = [lease(database) for _ in range(4)]
    claimed: dict[str, set[str]] = {}

    def claim(who: Lease) -> None:
        for _ in range(12):
            claimed[who.id] = set(who.claim())

    threads = [threading.Thread(target=claim, args=(who,)) for who in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = [id_ for held in claimed.values() for id_ in held]
    assert sorted(taken) == ids
