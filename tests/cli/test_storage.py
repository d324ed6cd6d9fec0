"""``elasticnas storage``: what an operator sees before blobs are deleted, and after a restore."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from elasticnas.cli.main import app
from elasticnas.service.blobs import LocalBlobs
from elasticnas.service.database import Database
from elasticnas.service.orphans import ownership

runner = CliRunner()


@pytest.fixture
def blobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalBlobs:
    """The store of an installation that has begun, in the data folder of the settings."""
    monkeypatch.setenv("ELASTICNAS_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    database, store = (
        Database(f"sqlite:///{tmp_path / 'elasticnas.db'}"),
        LocalBlobs(tmp_path / "blobs"),
    )
    database.migrate()
    ownership.sign(database, store)
    database.close()
    return store


@pytest.mark.usefixtures("blobs")
def test_check_says_what_the_next_collection_would_do():
    shown = runner.invoke(app, ["storage", "check"], catch_exceptions=False)
    assert "collects orphans  yes" in shown.output
    assert "blobs referred to 0, of which 0 are missing" in shown.output
    as_json = json.loads(runner.invoke(app, ["storage", "check", "--json"]).output)
    assert (as_json["collects"], as_json["would_delete"], as_json["missing"]) == (True, [], [])


@pytest.mark.usefixtures("blobs")
def test_a_store_on_hold_is_left_alone_until_it_is_claimed():
    assert runner.invoke(app, ["storage", "hold"], catch_exceptions=False).exit_code == 0
    shown = runner.invoke(app, ["storage", "check"], catch_exceptions=False)
    assert "no: an operator holds it" in shown.output
    runner.invoke(app, ["storage", "claim", "--yes"], catch_exceptions=False)
    assert "collects orphans  yes" in runner.invoke(app, ["storage", "check"]).output


def test_a_store_is_claimed_only_when_the_operator_says_yes(blobs: LocalBlobs):
    blobs.put_signature("installation-other", b'{"host": "elsewhere"}')
    shown = runner.invoke(app, ["storage", "check"], catch_exceptions=False)
    assert "no: this store is also used by installation-other (elsewhere)" in shown.output
    refused = runner.invoke(app, ["storage", "claim"])
    assert "also used by installation-other" in str(refused.exception)
    assert "installation-other" in blobs.signatures()
    claimed = runner.invoke(app, ["storage", "claim", "--yes"], catch_exceptions=False)
    assert "has claimed this store" in claimed.output
    assert "installation-other" not in blobs.signatures()
    assert "collects orphans  yes" in runner.invoke(app, ["storage", "check"]).output
    again = runner.invoke(app, ["storage", "claim", "--yes"], catch_exceptions=False)
    assert "alone in this store already" in again.output
