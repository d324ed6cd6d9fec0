"""Migrations, transactions and column types, on both databases."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta, timezone

import psycopg
import pytest
import sqlalchemy.exc
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select, text

from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.verification import RowSplit
from elasticnas.service import repository, tables
from elasticnas.service.database import Database
from elasticnas.service.datasets import repository as datasets
from elasticnas.service.datasets.tables import DatasetRow
from elasticnas.service.exports.tables import ExportRow
from elasticnas.service.principal import DEFAULT_OWNER, Principal
from elasticnas.service.searches.conditions import conditions_of
from elasticnas.service.searches.tables import (
    EvaluationRow,
    FrontPointRow,
    SearchEventRow,
    SearchRow,
)
from elasticnas.service.supernets import repository as supernets
from elasticnas.service.workers import repository as workers
from elasticnas.service.workers.tables import WorkerRow


def worker(name: str, moment: datetime) -> WorkerRow:
    return WorkerRow(
        name=name,
        device="cpu",
        evaluations=0,
        warm_supernets=[],
        evaluating=[],
        started_at=moment,
        last_seen_at=moment,
        stopping=False,
    )


def test_the_migrations_make_exactly_the_tables(database: Database):
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []


def test_migrating_twice_changes_nothing(database: Database):
    database.migrate()
    with database.engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).all() == [
            ("0024",)
        ]


def test_label_names_of_earlier_versions_were_given_unless_they_are_sorted(database: Database):
    """Sorted names may have been made up from the labels: a search must not take their order."""
    config = Config()
    config.set_main_option("script_location", "service:migrations")
    stored = {"sorted": ["neg", "pos"], "given": ["pos", "neg"], "numbers": None}
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        before = ScriptDirectory.from_config(config).get_revision("0009").down_revision
        command.downgrade(config, str(before))
        for name, names in stored.items():
            connection.execute(
                text(
                    "INSERT INTO datasets (id, name, task, metric, rows, text_columns, "
                    "label_column, num_labels, label_names, digest, size_bytes, created_at) VALUES "
                    "(:id, '', 'text-classification', 'accuracy', 2, '[]', '', 2, :names, '', 1, "
                    "'2026-01-01 00:00:00')"
                ),
                {"id": name, "names": None if names is None else json.dumps(names)},
            )
    database.migrate()
    with database.read() as session:
        rows = session.scalars(select(DatasetRow)).all()
    assert {row.id: row.label_names_given for row in rows} == {
        "sorted": False,
        "given": True,
        "numbers": False,
    }
    assert {row.id: row.label_names for row in rows} == stored


def test_a_database_of_the_version_before_is_brought_up_to_date(database_url: str):
    """With a registration that was rejected, a search under way, a worker and an export."""
    opened = Database(database_url)
    opened.migrate("0004")
    with opened.write() as session:
        for state in ("ready", "rejected", "reading"):
            session.execute(
                text(
                    "INSERT INTO supernets (id, name, state, digest, size_bytes, created_at)"
                    " VALUES (:state, 'n', :state, 'd', 1, '2026-11-21 00:00:00.000000')"
                ).bindparams(state=state)
            )
        session.execute(
            text(
                "INSERT INTO workers (name, device, evaluations, warm_supernets, evaluating,"
                " started_at, last_seen_at, stopping)"
                " VALUES ('w', 'cpu', 1, '[]', '[]', '2026-11-21 00:00:00.000000',"
                " '2026-11-21 00:00:00.000000', false)"
            )
        )
    opened.migrate()
    with opened.read() as session:
        states = session.execute(text("SELECT id, state FROM supernets ORDER BY id")).all()
        assert states == [("reading", "reading"), ("ready", "ready"), ("rejected", "failed")]
        row = session.get_one(WorkerRow, "w")
        assert (row.precision, row.precisions) == (None, None)
        assert workers.able([row], Precision.FLOAT32) == 0  # it would not say its precision
        assert workers.able([row], Precision.BFLOAT16) == 0
    opened.close()


STORED_BEFORE_OWNERS = (
    "INSERT INTO supernets (id, name, state, digest, size_bytes, created_at)"
    " VALUES ('net', 'n', 'ready', 'd', 1, '2026-11-21 00:00:00.000000')",
    "INSERT INTO datasets (id, name, task, metric, rows, text_columns, label_column, num_labels,"
    " label_names_given, digest, size_bytes, created_at) VALUES ('data', 'd',"
    " 'text-classification', 'accuracy', 2, '[]', 'l', 2, false, 'd', 1,"
    " '2026-11-21 00:00:00.000000')",
    "INSERT INTO searches (id, state, request, supernet_id, dataset_id, supernet_digest,"
    " dataset_digest, task, max_length, reference_point, idempotency_key, idempotency_digest,"
    " created_at, revision, last_event, recorded, completed, given_up, failed, cached, running,"
    " hypervolume, front_size, front_revision, elapsed_seconds, verify_share) VALUES ('search',"
    " 'running', '{}', 'net', 'data', 'd', 'd', 'text-classification', 8, '{}', 'key', 'digest',"
    " '2026-11-21 00:00:00.000000', 0, 1, 1, 1, 0, 0, 0, 0, 0.5, 1, 1, 1.0, 0.0)",
    "INSERT INTO evaluations (search_id, number, subnet_key, choices, cost, state, origin, cached,"
    " verify_attempt, attempt, sent_at) VALUES ('search', 0, 'k', '[0]', '{}', 'completed',"
    " 'maximal', false, 1, 1, '2026-11-21 00:00:00.000000')",
    "INSERT INTO front_points (search_id, number, entered_sequence, entered_at)"
    " VALUES ('search', 0, 1, '2026-11-21 00:00:00.000000')",
    "INSERT INTO search_events (search_id, number, kind, data, at)"
    " VALUES ('search', 1, 'state', '{}', '2026-11-21 00:00:00.000000')",
    "INSERT INTO exports (id, search_id, number, format, state, requested_at, sent_at) VALUES"
    " ('export', 'search', 0, 'peft', 'ready', '2026-11-21 00:00:00.000000',"
    " '2026-11-21 00:00:00.000000')",
)
"""One row of each table that users see, as the version without owners wrote it."""
BELONGS_TO_A_SEARCH = (EvaluationRow, FrontPointRow, SearchEventRow, ExportRow)


def test_what_was_stored_before_there_were_owners_is_the_default_owners(database_url: str):
    """On SQLite the table of searches is made anew: nothing that belongs to a search goes with the
    old one, and what belongs to a search goes with the search as before."""
    opened = Database(database_url)
    opened.migrate("0009")
    with opened.write() as session:
        for statement in STORED_BEFORE_OWNERS:
            session.execute(text(statement))
    opened.migrate()
    default = Principal(DEFAULT_OWNER)
    with opened.read() as session:
        assert supernets.found(session, default, "net").name == "n"
        assert datasets.found(session, default, "data").rows == 2
        search = repository.by_idempotency_key(session, default, SearchRow, "key")
        assert search is not None
        assert (search.id, search.hypervolume) == ("search", 0.5)
        for table in BELONGS_TO_A_SEARCH:
            assert len(session.scalars(select(table)).all()) == 1, table
    with pytest.raises(sqlalchemy.exc.IntegrityError), opened.write() as session:
        session.execute(text("DELETE FROM supernets"))
    with opened.write() as session:
        session.execute(text("DELETE FROM searches"))
    with opened.read() as session:
        for table in BELONGS_TO_A_SEARCH:
            assert session.scalars(select(table)).all() == [], table
    opened.close()


def test_searches_of_the_version_before_share_answers_under_equal_conditions(database_url: str):
    """The key that the migration writes is the one that this version asks by."""
    opened = Database(database_url)
    opened.migrate("0013")
    with opened.write() as session:
        for statement in STORED_BEFORE_OWNERS[:3]:
            session.execute(text(statement))
        session.execute(text("UPDATE searches SET precision = 'bfloat16', verify_share = 0.3"))
        session.execute(
            text(
                STORED_BEFORE_OWNERS[2].replace("'search'", "'unbegun'").replace("'key'", "'other'")
            )
        )
    opened.migrate()
    with opened.read() as session:
        begun, unbegun = (session.get_one(SearchRow, name) for name in ("search", "unbegun"))
        assert begun.conditions_key == conditions_of(begun).key
        assert conditions_of(begun).split == RowSplit(share=0.3, part="search")
        assert unbegun.conditions_key is None  # nobody knows in which precision it will measure
    opened.close()


def test_a_table_that_others_refer_to_is_never_replaced_while_references_are_followed(
    sqlite_url: str,
):
    opened = Database(sqlite_url)
    opened.migrate("0009")
    with opened.write() as session:
        for statement in STORED_BEFORE_OWNERS:
            session.execute(text(statement))
    config = Config()
    config.set_main_option("script_location", "service:migrations")
    with opened.engine.connect() as connection:
        config.attributes["connection"] = connection
        with pytest.raises(RuntimeError, match=r"run by Database\.migrate"):
            command.upgrade(config, "0013")
    with opened.read() as session:
        assert session.execute(text("SELECT count(*) FROM evaluations")).scalar() == 1
    opened.close()


def test_moments_come_back_in_utc(database: Database):
    here = datetime(2026, 11, 21, 12, 0, tzinfo=timezone(timedelta(hours=2)))
    with database.write() as session:
        session.add(worker("w", here))
    with database.read() as session:
        stored = session.scalars(select(WorkerRow)).one().started_at
    assert stored == here
    assert stored.tzinfo is UTC


def test_a_moment_without_a_zone_is_refused(database: Database):
    with pytest.raises(Exception, match="without a time zone"), database.write() as session:
        session.add(worker("w", datetime(2026, 1, 1)))


def test_a_write_that_raises_leaves_nothing(database: Database):
    def write_and_raise() -> None:
        with database.write() as session:
            session.add(worker("w", datetime.now(UTC)))
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_raise()
    with database.read() as session:
        assert session.scalars(select(WorkerRow)).all() == []


def test_writers_that_read_first_take_turns(database: Database):
    """On SQLite a deferred transaction would fail here at once with 'database is locked'."""
    with database.write() as session:
        session.add(worker("w", datetime.now(UTC)))

    def count_up() -> None:
        for _ in range(20):
            with database.write() as session:
                row = session.scalars(select(WorkerRow).with_for_update()).one()
                row.evaluations += 1

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert session.scalars(select(WorkerRow.evaluations)).one() == 80


def test_a_connection_that_was_cut_in_the_pool_is_replaced_unseen(postgres_url: str):
    database = Database(postgres_url)
    with database.read() as session:
        mine = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (mine,))
    time.sleep(1)
    with database.read() as session:
        assert session.execute(text("SELECT pg_backend_pid()")).scalar_one() != mine
    database.close()


def test_threads_of_one_process_wait_for_each_other_longer_than_for_another(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
):
    """A step of a search may compute for longer than a request waits for another process."""
    monkeypatch.setattr("elasticnas.service.database.BUSY_TIMEOUT_MILLISECONDS", 1)
    database = Database(sqlite_url)
    database.migrate()
    writing, may_end = threading.Event(), threading.Event()

    def write() -> None:
        with database.write() as session:
            session.add(worker("first", datetime.now(UTC)))
            session.flush()
            writing.set()
            may_end.wait()

    thread = threading.Thread(target=write)
    thread.start()
    writing.wait()
    threading.Timer(0.3, may_end.set).start()
    with database.write() as session:
        session.add(worker("second", datetime.now(UTC)))
    thread.join()
    with database.read() as session:
        assert sorted(session.scalars(select(WorkerRow.name))) == ["first", "second"]
    database.close()
