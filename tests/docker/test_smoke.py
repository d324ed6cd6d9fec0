"""What `docker/smoke` needs of the product, without containers."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from elasticnas.supernet.checkpoint.reader import read_supernet
from tests.docker.compose import ROOT, SECRETS

MODEL = ROOT / "docker" / "smoke_model.py"


def inside(command: str, data: bytes = b"") -> bytes:
    """What the script does inside the image, in a process of its own."""
    run = [sys.executable, "-I", MODEL, command]
    return subprocess.run(run, input=data, stdout=subprocess.PIPE, check=True).stdout


@pytest.mark.slow
def test_the_super_network_can_be_read_and_its_sentences_are_measured(tmp_path: Path):
    with tarfile.open(fileobj=io.BytesIO(inside("make"))) as made:
        made.extractall(tmp_path, filter="data")
    with tarfile.open(tmp_path / "checkpoint.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    supernet = read_supernet(tmp_path / "checkpoint")
    assert supernet.space.size == 4**8
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.add(tmp_path / "checkpoint" / "base", "subnet")
        tar.add(tmp_path / "rows.jsonl", "rows.jsonl")
    accuracy = float(inside("measure", stream.getvalue()))
    assert 0.85 < accuracy < 0.95  # a tenth of the labels is not what the model says


def test_it_gives_every_secret_that_the_compose_file_demands_and_says_what_it_needs():
    text = (ROOT / "docker" / "smoke").read_text()
    assert all(f'"{name}"' in text for name in SECRETS)
    nothing = {"PATH": "/nowhere"}
    ended = subprocess.run(
        [sys.executable, ROOT / "docker" / "smoke"],
        env=nothing,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "Compose v2" in ended.stdout
