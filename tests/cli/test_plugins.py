"""Modules of somebody else's, which each process imports as it starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from elasticnas.api_schemas import registry
from elasticnas.api_schemas.conditions import Conditions
from elasticnas.worker.evaluator import SubnetAsked
from elasticnas.worker.isolation import Measurement, measure_apart
from tests.backing import free_port
from tests.cli.test_failures import apart, one_line

NOTES_ITS_IMPORT = """
import os
from pathlib import Path

with Path(__file__).with_suffix(".seen").open("a") as file:
    file.write(f"{os.getpid()}\\n")
"""
NOWHERE = "redis://127.0.0.1:1/0"
TEAM = ("--redis-url", NOWHERE, "--data-dir", "data")


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a module that can be imported; ``.seen`` beside it has who did."""
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / f"plugin_{free_port()}.py"
    path.write_text(NOTES_ITS_IMPORT)
    return path


@pytest.mark.parametrize(
    "command",
    [
        ("serve", "--data-dir", "data", "--port", "1"),
        ("coordinate", *TEAM, "--database-url", "postgresql+psycopg://127.0.0.1:1/nas"),
        ("worker", *TEAM),
        ("train", "--base", ".", "--data", "rows.jsonl", "--output", "net"),
    ],
    ids=lambda command: command[0],
)
def test_a_process_imports_its_plugins_or_says_which_it_cannot(
    command: tuple[str, ...], plugin: Path, tmp_path: Path
):
    (tmp_path / "rows.jsonl").write_text('{"text": "a", "label": 0}\n')
    named = json.dumps([plugin.stem, "no_such_package.models"])
    ended = apart(*command, cwd=tmp_path, PYTHONPATH=str(tmp_path), ELASTICNAS_PLUGINS=named)
    assert (ended.returncode, ended.stdout) == (2, "")
    said = one_line(ended.stderr)
    assert "plugins: this module cannot be imported: No module named 'no_such_package'" in said
    assert "found no_such_package.models" in said
    assert len(plugin.with_suffix(".seen").read_text().split()) == 1


@pytest.mark.parametrize("fault", ["raise ValueError('the name is taken')", "def"])
def test_whatever_a_plugin_raises_is_one_line(fault: str, plugin: Path, tmp_path: Path):
    plugin.write_text(fault)
    named = json.dumps([plugin.stem])
    ended = apart("worker", *TEAM, cwd=tmp_path, PYTHONPATH=str(tmp_path), ELASTICNAS_PLUGINS=named)
    assert ended.returncode == 2
    assert plugin.stem in one_line(ended.stderr)


def test_a_process_that_a_worker_starts_has_its_plugins(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(registry, "_plugins", {})
    registry.load_plugins([plugin.stem])
    measure_apart(
        Measurement(
            checkpoint=tmp_path / "none",
            dataset=tmp_path / "none.parquet",
            conditions=Conditions(
                supernet="none", dataset="none", task="text-classification", max_length=8
            ),
            pilots=(),
            asked=SubnetAsked({}),
            device="cpu",
            token_budget=64,
            memory_bytes=2**30,
            limit_seconds=60.0,
        )
    )
    assert len(set(plugin.with_suffix(".seen").read_text().split())) == 2
