"""The layout of the house: which room may import which."""

from __future__ import annotations

from pathlib import Path

from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parent.parent


def test_imports_run_one_way_only(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    exit_code = lint_imports(config_filename="pyproject.toml", cache_dir=None)
    assert exit_code == 0, capsys.readouterr().out
