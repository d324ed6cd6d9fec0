"""What the compose file says is what is run: its commands, variables, ports and health checks.

The programs are those that this machine has. What PostgreSQL's entry point does, `initdb` and the
file's script, is done here.
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
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import httpx2
import psycopg
import pytest
from botocore.exceptions import ClientError

from tests.docker.compose import ROOT, SECRETS, Process, Project
from tests.end_to_end.server import Server, write_rows
from tests.s3 import weed
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
    return Project(tmp_path, {name: secrets.token_hex(12) for name in SECRETS})


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
            *("--username", "postgres", "--pwfile", password),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        user=user,
        cwd=folder,
    )
    return process


def make_database(project: Project, login: dict[str, str]) -> None:
    """What the entry point does with the scripts of the file."""
    address = ["-h", project.addresses["postgres"], "--username", "postgres", "-d", "postgres"]
    psql = [program("psql"), "-v", "ON_ERROR_STOP=1", "--no-psqlrc", *address]
    script = str(ROOT / project.configs["database"]["file"])
    environment = {**login, "PGPASSWORD": login["POSTGRES_PASSWORD"]}
    subprocess.run([*psql, "-f", script], env=environment, check=True)


def redis(project: Project) -> Process:
    program("redis-server")
    program("redis-cli")
    return project.process("redis")


def seaweedfs(project: Project) -> Process:
    program("wget")
    process = project.process("seaweedfs")
    process.environment["PATH"] = f"{Path(weed()).parent}:{process.environment['PATH']}"
    return process


def arguments_of_all_processes() -> str:
    """What any user of the machine may read of every process."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            found.append(file.read_text(errors="replace"))
    return "\n".join(found)


@pytest.mark.slow
def test_the_whole_file_runs_does_a_search_and_stops(
    project: Project, running: list[Process], tmp_path: Path, postgres_folder: Path
):
    stand_ins = {
        "postgres": partial(postgres, folder=postgres_folder),
        "redis": redis,
        "seaweedfs": seaweedfs,
    }

    def start(name: str) -> Process:
        process = stand_ins[name](project) if name in stand_ins else project.process(name)
        running.append(process)
        return process.start()

    start("preflight").wait()
    stores = {name: start(name) for name in ("postgres", "redis", "seaweedfs")}
    for process in stores.values():
        process.wait()
    make_database(project, stores["postgres"].environment)
    start("bucket").wait()
    for process in [start(name) for name in ("api", "coordinator", "worker")]:
        process.wait()
    shown = arguments_of_all_processes()
    assert "redis-server" in shown
    for name, secret in project.secrets.items():
        assert secret not in shown, name

    api = Server(tmp_path / "api")
    api.client = httpx2.Client(base_url=f"http://{project.addresses['api']}:8000", timeout=60)
    (tmp_path / "server.log").touch()
    ids = api.register(
        write_lonas(tmp_path / "checkpoint"), write_rows(tmp_path / "rows.jsonl", count=40)
    )
    search = api.search(*ids, budget={"evaluations": 20})
    assert api.finish(search)["progress"]["completed"] == 20
    assert api.front(search)["items"]
    assert api.weights(search, 0, "transformers").status_code == 200
    caches = {path.name for path in tmp_path.glob("*-cache")}
    assert caches == {"api-cache", "coordinator-cache", "worker-cache"}
    for name in caches:
        assert not (tmp_path / name / "blobs").exists(), "blobs belong into the bucket"
    is_no_more_than_it_must_be(project)

    lasting = [process for process in reversed(running) if process.health is not None]
    for process in lasting:
        assert process.is_healthy(), process.said()
    for process in lasting:
        assert process.stop() == 0, process.said()


def is_no_more_than_it_must_be(project: Project) -> None:
    """The rights of the key and of the role that the processes have."""
    settings = project.process("worker").environment
    store = project.addresses["seaweedfs"]

    def client(key: str, secret: str) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=settings["ELASTICNAS_BLOBS_ENDPOINT_URL"],
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )

    root = client("root", project.secrets["S3_ROOT_SECRET"])
    root.create_bucket(Bucket="elasticnas-of-others")
    worker = client(settings["AWS_ACCESS_KEY_ID"], settings["AWS_SECRET_ACCESS_KEY"])
    assert worker.list_objects_v2(Bucket="elasticnas")["KeyCount"] > 0
    for refused in (
        lambda: worker.put_object(Bucket="elasticnas-of-others", Key="x", Body=b"x"),
        lambda: worker.list_objects_v2(Bucket="elasticnas-of-others"),
        lambda: worker.create_bucket(Bucket="mine"),
        lambda: worker.delete_bucket(Bucket="elasticnas"),
    ):
        with pytest.raises(ClientError, match=r"Access ?Denied|Forbidden"):
            refused()
    assert httpx2.get(f"http://{store}:8333/elasticnas").status_code == 403

    url = project.process("api").environment["ELASTICNAS_DATABASE_URL"].replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as database:
        (flags,) = database.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls "
            "FROM pg_roles WHERE rolname = current_user"
        )
        assert flags == (False,) * 5
        (owner,) = database.execute(
            "SELECT pg_get_userbyid(datdba) = current_user FROM pg_database "
            "WHERE datname = current_database()"
        )
        assert owner == (True,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            database.execute("COPY (SELECT 1) TO PROGRAM 'true'")
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(url.rpartition("/")[0] + "/postgres")


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("replace-me-with-a-secret", "is a placeholder"),
        ("replace-me", "is a placeholder"),
        ("abc123", "is shorter than 16 characters"),
        ("0123456789abcdef/x@y", "has something else than letters"),
    ],
)
def test_a_secret_that_is_none_ends_the_start(tmp_path: Path, value: str, fault: str):
    given = {name: secrets.token_hex(12) for name in SECRETS} | {"REDIS_PASSWORD": value}
    process = Project(tmp_path, given).process("preflight").start()
    assert process.popen is not None
    assert process.popen.wait(timeout=60) == 2
    (line,) = process.log.read_text().splitlines()
    assert line.startswith(f"REDIS_PASSWORD in .env {fault}")
    assert ".env.example" in line
    assert value not in line.removeprefix("REDIS_PASSWORD")


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
