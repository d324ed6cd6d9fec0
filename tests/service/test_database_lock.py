"""Who may have a database together: with a queue in memory nobody, with one in Redis everybody."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from elasticnas.api_schemas.problems import InputError
from elasticnas.service.database_lock import database_held, demand_shared
from elasticnas.service.settings import ServiceSettings

QUEUE = "redis://127.0.0.1:1/0"
HOLD = """
import sys
from elasticnas.service.database_lock import database_held
from elasticnas.service.settings import ServiceSettings
with database_held(ServiceSettings(data_dir=sys.argv[1]), "http://127.0.0.1:8123"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str | None:
    """None: SQLite in the data folder."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def alone(url: str | None, tmp_path: Path) -> ServiceSettings:
    return ServiceSettings(data_dir=tmp_path / "data", database_url=url)


@pytest.fixture
def shared(url: str | None, tmp_path: Path) -> ServiceSettings:
    return ServiceSettings(data_dir=tmp_path / "data", database_url=url, redis_url=QUEUE)


def test_a_server_with_its_queue_in_memory_has_its_database_alone(alone, shared):
    with database_held(alone, "http://127.0.0.1:8123"):
        for other in (alone, shared):
            with pytest.raises(InputError) as refused, database_held(other):
                pass
            assert f"process {os.getpid()} since 20" in str(refused.value)
    with database_held(shared):
        pass
    with database_held(alone):
        pass


def test_processes_with_their_queue_in_redis_share_one(shared):
    with database_held(shared), database_held(shared), database_held(shared):
        pass


def test_a_moment_of_another_that_begins_to_share_is_waited_for(tmp_path: Path):
    """It has the lock alone while it begins the list of holders anew."""
    settings = ServiceSettings(data_dir=tmp_path / "data", redis_url=QUEUE)
    with database_held(settings):
        [path] = (tmp_path / "data").glob("*.lock")
    with path.open("rb") as beginning:
        fcntl.flock(beginning, fcntl.LOCK_EX)
        threading.Timer(0.1, fcntl.flock, (beginning, fcntl.LOCK_SH)).start()
        with database_held(settings):
            pass


def test_a_server_alone_finds_out_that_a_sqlite_file_is_shared(tmp_path: Path):
    shared = ServiceSettings(data_dir=tmp_path, redis_url=QUEUE)
    with (
        database_held(shared),
        database_held(shared),
        pytest.raises(InputError, match=r"data_dir.*in use.*--data-dir"),
        database_held(ServiceSettings(data_dir=tmp_path)),
    ):
        pass


def test_the_file_counts_and_not_the_name_that_it_was_given(tmp_path: Path):
    first = ServiceSettings(data_dir=tmp_path / "data")
    second = ServiceSettings(
        data_dir=tmp_path / "other", database_url=f"sqlite:///{tmp_path}/data/elasticnas.db"
    )
    with (
        database_held(first),
        pytest.raises(InputError, match=r"database_url.*in use"),
        database_held(second),
    ):
        pass


def test_a_process_that_was_killed_holds_nothing_any_more(tmp_path: Path):
    settings = ServiceSettings(data_dir=tmp_path)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(InputError) as refused, database_held(settings):
        pass
    assert f"process {holder.pid} since" in str(refused.value)
    assert "http://127.0.0.1:8123" in str(refused.value)
    assert str(tmp_path) in str(refused.value)
    holder.kill()
    holder.wait()
    with database_held(settings):
        pass


def test_no_worker_begins_beside_a_server_that_works_alone(tmp_path: Path):
    demand_shared(tmp_path)
    with (
        database_held(ServiceSettings(data_dir=tmp_path)),
        pytest.raises(InputError, match="memory"),
    ):
        demand_shared(tmp_path)
    with database_held(ServiceSettings(data_dir=tmp_path, redis_url=QUEUE)):
        demand_shared(tmp_path)
    demand_shared(tmp_path)
