"""A model of 1.1 billion weights within 12 GB: registered, measured and exported."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.large_model import TINY_LLAMA, write_large_checkpoint
from benchmarks.resident import Peaks, peaks_of
from elasticnas.tasks.rows import Rows
from elasticnas.tasks.stored_rows import write_rows
from tests.supernet.test_memory import reads_proc

GB = 10**9
WEIGHTS = 2.2 * GB
ROWS, CHOICES, WORDS = 20, 4, 19

pytestmark = [pytest.mark.slow, reads_proc]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder for some gigabytes that are gone after the tests."""
    with tempfile.TemporaryDirectory() as made:
        if (free := shutil.disk_usage(made).free) < 10 * GB:
            pytest.skip(f"needs 10 GB of disk, {free / GB:.1f} GB are free")
        if (free := psutil.virtual_memory().available) < 12 * GB:
            pytest.skip(f"needs 12 GB of memory, {free / GB:.1f} GB are free")
        write_large_checkpoint(Path(made) / "checkpoint", TINY_LLAMA)
        write_rows(rows(), Path(made) / "rows.parquet", keeps_columns=True)
        yield Path(made)


def rows() -> Rows:
    """Questions of ten words, each with four choices of two."""
    rng = random.Random(0)

    def words(count: int) -> str:
        return " ".join(f"w{5 + rng.randrange(WORDS)}" for _ in range(count))

    questions = [words(10) for _ in range(ROWS)]
    choices = [[words(2) for _ in range(CHOICES)] for _ in range(ROWS)]
    return Rows({"question": questions}, np.array([0] * ROWS), choices)


def step(name: str, folder: Path, precision: str = "float32") -> Peaks:
    """Take a step in a process of its own; its peaks, which are printed."""
    paths = [str(folder / each) for each in ("checkpoint", "rows.parquet")]
    found = peaks_of(
        "tests.supernet.large_step", [name, *paths, precision, str(folder / "subnet.zip")]
    )
    print(
        f"{name} ({precision}): {found.resident / GB:.2f} GB resident, of which "
        f"{found.anonymous / GB:.2f} anonymous; {found.mapped / GB:.2f} mapped"
    )
    assert found.resident < 12 * GB
    return found


def test_it_is_registered_without_its_weights_in_memory(folder: Path):
    found = step("register", folder)
    assert json.loads(found.output) == "llama"
    assert found.resident < WEIGHTS / 2


def test_in_its_own_dtype_it_is_measured_on_its_files_pages(folder: Path):
    """Adapters on queries and values are not merged for so few tokens."""
    found = step("evaluate", folder, "bfloat16")
    assert json.loads(found.output)["unmerged"] == 2 * TINY_LLAMA["num_hidden_layers"]
    assert found.anonymous < WEIGHTS / 2
    assert found.resident < 1.6 * WEIGHTS


def test_in_float32_it_is_measured_with_each_weight_once(folder: Path):
    found = step("evaluate", folder)
    for metrics in json.loads(found.output)["metrics"]:
        assert metrics["mean_log_likelihood"] < 0
    assert found.anonymous < 2 * WEIGHTS + GB


def test_a_subnet_is_exported_without_a_second_model(folder: Path):
    found = step("export", folder)
    assert json.loads(found.output) > 0.99 * WEIGHTS
    assert found.anonymous < WEIGHTS / 2
