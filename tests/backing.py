"""Private Redis and PostgreSQL servers that a test may kill and start again."""

from __future__ import annotations

import atexit
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import pytest


def free_port() -> int:
    """A port of the loopback interface that nobody listens on right now.

    Below the range from which outgoing connections get theirs: a server that is stopped for a
    moment finds its port free again.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


class RedisServer:
    """A Redis that keeps nothing: killed and started again, it is empty."""

    def __init__(self, folder: Path) -> None:
        self._executable = shutil.which("redis-server")
        if self._executable is None:
            pytest.skip("redis-server is not installed, so no private Redis can be started")
        self._folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> RedisServer:
        assert self._executable is not None
        self._process = subprocess.Popen(
            [
                *(self._executable, "--port", str(self.port), "--bind", "127.0.0.1"),
                *("--save", "", "--dir", str(self._folder)),
            ],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.05)
        raise AssertionError("the private Redis did not start")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class PostgresServer:
    """A PostgreSQL cluster of the test's own. Durability is off: it is stopped, never crashed."""

    def __init__(self, folder: Path) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        initdb = shutil.which("initdb") or (str(found[-1]) if found else None)
        if initdb is None:
            pytest.skip("PostgreSQL's initdb is not installed, so no private server can be started")
        self._bin = Path(initdb).resolve().parent
        self._data = folder / "postgres"
        self.port = free_port()
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            # Not below pytest's folders: another session that starts closes them to other users.
            self._data = Path(tempfile.mkdtemp(prefix="elasticnas-postgres-"))
            atexit.register(shutil.rmtree, self._data, ignore_errors=True)
            shutil.chown(self._data, "postgres", "postgres")
        else:
            self._data.mkdir()
        self._run("initdb", "-D", str(self._data), "-A", "trust", "-U", "postgres", "-N")

    def start(self) -> PostgresServer:
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' "
            "-c fsync=off -c shared_buffers=16MB"
        )
        log = str(self._data / "log")
        self._run("pg_ctl", "-D", str(self._data), "-w", "-l", log, "-o", options, "start")
        with psycopg.connect(self.url.replace("+psycopg", "")) as connection:
            connection.execute("SELECT 1")
        return self

    def stop(self) -> None:
        """What a restart for an upgrade does: every connection is cut at once."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "fast", "stop", check=False)

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        command = [str(self._bin / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        done = subprocess.run(command, capture_output=True, cwd="/", text=True, check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
