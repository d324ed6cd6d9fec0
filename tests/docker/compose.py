"""The compose file's services as plain processes on this machine.

Every service gets a loopback address of its own, which stands for its host name, so that ports,
commands, variables and health checks are those of the file. Folders inside a container become
folders of the test.
"""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::([?-])([^}]*))?\})")
IMAGE = "localhost/elasticnas:"
PROGRAMS = {"elasticnas": [sys.executable, "-m", "elasticnas.cli.main"], "python": [sys.executable]}
START_SECONDS = 300
STOP_SECONDS = 120


SECRETS = [
    line.partition("=")[0]
    for line in (ROOT / ".env.example").read_text().splitlines()
    if line.endswith("=")
]
"""The variables that .env.example has no value for."""


class MissingVariableError(Exception):
    """A variable that the compose file demands is not set; the message is the file's."""


def dockerfile() -> str:
    """The Dockerfile, continued lines joined."""
    return (ROOT / "docker" / "Dockerfile").read_text().replace("\\\n", " ")


def read(environment: Mapping[str, str]) -> dict[str, Any]:
    """The compose file, with variables filled in as `docker compose` would."""

    def fill(match: re.Match[str]) -> str:
        dollar, name, operator, word = match.groups()
        if dollar:
            return "$"
        if operator == "?" and not environment.get(name):
            raise MissingVariableError(f"required variable {name} is missing a value: {word}")
        return environment.get(name) or (word if operator == "-" else "")

    text = (ROOT / "docker-compose.yml").read_text()
    return dict(yaml.safe_load(VARIABLE.sub(fill, text)))


def image() -> tuple[list[str], dict[str, str]]:
    """Entry point and environment of our own image."""
    runtime = dockerfile().split(" AS runtime")[1].split("\nFROM ")[0]
    entrypoint = re.search(r"^ENTRYPOINT (\[.*\])$", runtime, re.MULTILINE)
    assert entrypoint is not None
    variables = " ".join(re.findall(r"^ENV (.*)$", runtime, re.MULTILINE))
    environment = dict(each.split("=", 1) for each in shlex.split(variables))
    del environment["PATH"]
    return json.loads(entrypoint[1]), environment


@dataclass
class Process:
    """A service of the file on this machine."""

    name: str
    service: dict[str, Any]
    command: list[str]
    environment: dict[str, str]
    log: Path
    health: list[str] | None
    user: str | None = None
    popen: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> Process:
        """Start it."""
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                self.command,
                env=self.environment,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                user=self.user,
                group=self.user,
            )
        return self

    def wait(self) -> None:
        """Until its health check passes; without one, until it is done."""
        assert self.popen is not None
        if self.health is None:
            assert self.popen.wait(timeout=START_SECONDS) == 0, self.said()
            return
        deadline = time.monotonic() + START_SECONDS
        while not self.is_healthy():
            assert self.popen.poll() is None, self.said()
            assert time.monotonic() < deadline, f"{self.name} is not healthy: {self.said()}"
            time.sleep(0.1)

    def is_healthy(self) -> bool:
        """Whether the health check passes."""
        assert self.health is not None
        done = subprocess.run(self.health, env=self.environment, capture_output=True, check=False)
        return done.returncode == 0

    def stop(self) -> int:
        """What `docker compose stop` does; the exit status."""
        assert self.popen is not None
        wanted = self.service.get("stop_signal", "SIGTERM")
        self.popen.send_signal(getattr(signal, wanted))
        return self.popen.wait(timeout=STOP_SECONDS)

    def kill(self) -> None:
        """End it, if it still runs."""
        if self.popen is not None and self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()

    def said(self) -> str:
        """The end of its log."""
        return f"{self.name}: {self.log.read_text()[-3000:]}"


class Project:
    """The whole file."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.secrets = dict(environment)
        found = read(environment)
        self.services: dict[str, dict[str, Any]] = found["services"]
        self.configs: dict[str, dict[str, Any]] = found["configs"]
        network = f"127.{random.randint(2, 254)}.{random.randint(1, 254)}"
        self.addresses = {name: f"{network}.{i + 1}" for i, name in enumerate(self.services)}

    def process(self, name: str, command: list[str] | None = None) -> Process:
        """A service, by the file's command or by one that stands in for an image's own."""
        service = self.services[name]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ELASTICNAS_")}
        environment |= {"OMP_NUM_THREADS": "1", "NO_PROXY": "*"}
        entrypoint: list[str] = []
        if service["image"].startswith(IMAGE):
            entrypoint, of_image = image()
            environment |= {k: self.here(name, v) for k, v in of_image.items()}
        environment |= {
            k: self.here(name, str(v)) for k, v in service.get("environment", {}).items()
        }
        if command is None:
            given = service.get("entrypoint", entrypoint) + service.get("command", [])
            command = [self.here(name, part) for part in given]
        health: list[str] | None = None
        if "healthcheck" in service:
            kind, *test = [self.here(name, part) for part in service["healthcheck"]["test"]]
            health = ["sh", "-c", *test] if kind == "CMD-SHELL" else _program(test)
        log = self.folder / f"{name}.log"
        log.touch()
        return Process(name, service, _program(command), environment, log, health)

    def here(self, name: str, text: str) -> str:
        """A text of the file, with addresses and folders of this machine."""

        def replace(match: re.Match[str]) -> str:
            host, address, path = match.groups()
            if host:
                return self.addresses[host]
            return self.addresses[name] if address else str(self.path(name, path))

        hosts = "|".join(self.addresses)
        return re.sub(
            rf"\b({hosts})(?=:\d)|(0\.0\.0\.0|127\.0\.0\.1)|(?<![\w/.])(/data|/tmp|/prometheus)\b",
            replace,
            text,
        )

    def path(self, name: str, inside: str) -> Path:
        """The folder that stands for one inside a container: of a volume, or a tmpfs."""
        mounted = dict(
            reversed(str(volume).split(":")[:2])
            for volume in self.services[name].get("volumes", [])
        )
        folder = self.folder / mounted.get(inside, f"{name}{inside.replace('/', '-')}")
        folder.mkdir(exist_ok=True)
        return folder


def _program(command: list[str]) -> list[str]:
    return [*PROGRAMS.get(command[0], [command[0]]), *command[1:]]
