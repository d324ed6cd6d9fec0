"""From a fine-tuned model to a Pareto front over REST in one command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.server import Server, write_rows
from tests.supernet.tiny import tiny_model, write_tokenizer

pytestmark = pytest.mark.slow


def test_a_model_is_derived_and_searched_at_once(server: Server, tmp_path: Path):
    tiny_model("bert").save_pretrained(tmp_path / "model")
    write_tokenizer(tmp_path / "model")
    data = write_rows(tmp_path / "train.jsonl", count=120)
    validation = write_rows(tmp_path / "validation.jsonl", count=60)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "elasticnas.cli.main", "supernet", "derive", "--json"),
            *("--base", str(tmp_path / "model"), "--data", str(data)),
            *("--validation", str(validation), "--evaluations", "12"),
            *("--text-columns", "sentence", "--max-length", "16", "--name", "mine"),
            *("--server", str(server.client.base_url)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    search = json.loads(done.stdout)
    assert (search["state"], search["name"], search["max_length"]) == ("completed", "mine", 16)
    assert search["progress"]["completed"] == 12
    assert server.front(search["id"])["items"]
    dataset = server.client.get(f"/v1/datasets/{search['dataset_id']}").json()
    assert (dataset["name"], dataset["rows"]) == ("validation", 60)
