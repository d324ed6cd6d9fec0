"""Whatever REST can do, a command and a method of the client can: by the table of the docs."""

from __future__ import annotations

import re
from pathlib import Path

from dramatiq.brokers.stub import StubBroker

from elasticnas.cli import main
from elasticnas.cli.lazy import imported
from elasticnas.client import Client
from elasticnas.service.app import create_app
from elasticnas.service.settings import ServiceSettings
from elasticnas.service.signals import LocalSignals

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    [re.findall(r"`([^`]+)`", cell) for cell in line.strip("| \n").split(" | ")]
    for line in (ROOT / "docs/cli.md").read_text().splitlines()
    if line.startswith("| `")
]


def test_every_request_is_in_the_table(tmp_path: Path):
    broker = StubBroker()
    settings = ServiceSettings(data_dir=tmp_path)
    paths = create_app(settings, broker, LocalSignals(broker)).openapi()["paths"]
    there = {
        f"{method.upper()} {re.sub('{[^}]*}', '{}', path)}"
        for path, operations in paths.items()
        for method in operations
        if path.startswith("/v1/")
    }
    assert {re.sub("{[^}]*}", "{}", request) for (request,), *_ in ROWS} == there


def options_of(command: str) -> set[str]:
    """The options of a command, such as ``supernet cost``.

    Raises:
        KeyError: there is no such command.
    """
    first, *rest = command.split()
    found = imported(first, main.COMMANDS[first])
    for word in rest:
        found = found.commands[word]
    return {option for each in found.params for option in each.opts}


def test_each_of_its_commands_and_methods_is_there():
    for (request,), commands, methods in ROWS:
        assert commands, request
        assert hasattr(Client, methods[0]), request
        for command in commands:
            words, *options = command.split(" --")
            assert {f"--{each}" for each in options} <= options_of(words), command
