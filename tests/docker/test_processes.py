"""What the compose file says is what is run: its commands, variables, ports and health checks.

MinIO does not install here, moto's server stands in for it; PostgreSQL's entry point, which makes
the database, is done by `initdb`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.docker.compose import Process, Project
from tests.end_to_end.server import Server, write_rows
from tests.supernet.test_reader import write_lonas

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux has a loopback address per service"
)


def program(name: str) -> str:
    """Where a program is; some distributions keep PostgreSQL's off the path."""
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(installed[-1]) if installed else None)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture
def project(tmp_path: Path) -> Project:
    names = ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD")
    return Project(tmp_path, {name: secrets.token_hex(12) for name in names})


@pytest.fixture
def running() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for process in reversed(started):
        process.kill()


@pytest.fixture
def postgres_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user can reach: it refuses to run as root."""
    with tempfile.TemporaryDirectory() as name:
        if os.geteuid() == 0:
            shutil.chown(name, "postgres", "postgres")
        yield Path(name)


def postgres(project: Project, folder: Path) -> Process:
    address = project.addresses["postgres"]
    user = "postgres" if os.geteuid() == 0 else None
    options = [f"listen_addresses={address}", f"unix_socket_directories={folder}"]
    command = [program("postgres"), "-D", str(folder / "data")]
    process = project.process("postgres", command + [p for o in options for p in ("-c", o)])
    process.user = user
    password = folder / "password"
    password.write_text(process.environment["POSTGRES_PASSWORD"])
    subprocess.run(
        [
            *(program("initdb"), "--no-sync", "-D", folder / "data", "--auth", "scram-sha-256"),
            *("--username", process.environment["POSTGRES_USER"], "--pwfile", password),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        user=user,
        cwd=folder,
    )
    return process


def redis(project: Project) -> Process:
    process = project.process("redis")
    process.command[0] = program("redis-server")
    program("redis-cli")
    folder = str(project.path("redis", "/data"))
    process.command += ["--bind", project.addresses["redis"], "--dir", folder]
    return process


def objects(project: Project) -> Process:
    address = ["-H", project.addresses["minio"], "-p", "9000"]
    process = project.process("minio", [sys.executable, "-m", "moto.server", *address])
    answers = f"import httpx; httpx.get('http://{project.addresses['minio']}:9000/moto-api/')"
    process.health = [sys.executable, "-c", answers]
    return process


def test_the_whole_file_runs_does_a_search_and_stops(
    project: Project, running: list[Process], tmp_path: Path, postgres_folder: Path
):
    stand_ins = {
        "postgres": partial(postgres, folder=postgres_folder),
        "redis": redis,
        "minio": objects,
    }

    def start(name: str) -> Process:
        process = stand_ins[name](project) if name in stand_ins else project.process(name)
        running.append(process)
        return process.start()

    for process in [start(name) for name in ("objects", "postgres", "redis", "minio")]:
        process.wait()
    login = running[1].environment
    with psycopg.connect(
        host=project.addresses["postgres"],
        user=login["POSTGRES_USER"],
        password=login["POSTGRES_PASSWORD"],
        dbname="postgres",
        autocommit=True,
    ) as connection:
        connection.execute(f"CREATE DATABASE {login['POSTGRES_DB']}")
    start("bucket").wait()
    for process in [start(name) for name in ("api", "coordinator", "worker")]:
        process.wait()

    api = Server(tmp_path / "api")
    api.client = httpx.Client(base_url=f"http://{project.addresses['api']}:8000", timeout=60)
    (tmp_path / "server.log").touch()
    ids = api.register(
        write_lonas(tmp_path / "checkpoint"), write_rows(tmp_path / "rows.jsonl", count=40)
    )
    search = api.search(*ids, budget={"evaluations": 20})
    assert api.finish(search)["progress"]["completed"] == 20
    assert api.front(search)["items"]
    assert api.weights(search, 0, "transformers").status_code == 200
    assert not (tmp_path / "cache" / "blobs").exists(), "blobs belong into the bucket"

    for process in reversed(running):
        if process.health is None:
            continue
        assert process.is_healthy(), process.said()
        status = process.stop()
        if process.name != "minio":  # moto's server does not know how to end well
            assert status == 0, process.said()


def test_a_coordinator_and_a_worker_that_hang_are_unhealthy(project: Project):
    for name in ("coordinator", "worker"):
        process = project.process(name)
        alive = Path(process.environment["ELASTICNAS_ALIVE_FILE"])
        assert not process.is_healthy()
        alive.touch()
        assert process.is_healthy()
        os.utime(alive, (time.time() - 60, time.time() - 60))
        assert not process.is_healthy()


def test_prometheus_takes_its_command_and_configuration(
    project: Project, running: list[Process], tmp_path: Path
):
    prometheus, wget = program("prometheus"), program("wget")
    process = project.process("prometheus")
    configuration = tmp_path / "prometheus.yml"
    text = (Path(__file__).parents[2] / "docker" / "prometheus.yml").read_text()
    configuration.write_text(project.here("prometheus", text))
    inside = "/etc/prometheus/prometheus.yml"
    process.command = [
        prometheus,
        *(p.replace(inside, str(configuration)) for p in process.command),
    ]
    process.command.append(f"--web.listen-address={project.addresses['prometheus']}:9090")
    assert process.health is not None
    process.health[0] = wget
    running.append(process)
    process.start().wait()
    assert process.stop() == 0
