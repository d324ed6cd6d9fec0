"""A task of lm-eval from the command line to a front, without a word about its settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

pytest.importorskip("lm_eval", reason="lm-eval is not installed: elasticnas[lm]")

from elasticnas.supernet.contracts.checkpoints import write_checkpoint
from elasticnas.supernet.families.llama import LLAMA
from tests.cli.test_commands import elasticnas
from tests.end_to_end.server import Server

ROWS = 24


def write_task(folder: Path) -> Path:
    """A YAML, and its data beside it."""
    rows = [
        {"q": f"w{5 + row % 11} w{5 + row % 7}", "choices": ["w6 w7", "w8"], "label": row % 2}
        for row in range(ROWS)
    ]
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    task = {
        "task": "words",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": str(folder / "cache")},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "w9 {{q}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "label",
        "metric_list": [{"metric": "acc_norm"}, {"metric": "acc"}, {"metric": "mcc"}],
    }
    (folder / "words.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    return folder / "words.yaml"


@pytest.mark.slow
def test_a_task_is_added_and_searched(server: Server, tmp_path: Path) -> None:
    supernet = str(server.upload(write_checkpoint(tmp_path / "llama", LLAMA))["id"])
    task = write_task(tmp_path)
    added = elasticnas(
        *("dataset", "add", "--lm-eval", task, "--num-fewshot", 1, "--limit", 16, "--json"),
        *("--task-settings", '{"add_bos": false}'),
        server=server,
    )
    assert added.returncode == 0, added.stderr
    assert "not measured here: mcc" in added.stderr
    dataset = json.loads(added.stdout)
    assert (dataset["name"], dataset["rows"], dataset["metric"]) == ("words", 16, "acc_norm")
    assert dataset["task_settings"] == {
        "prompt": "{context}",
        "delimiter": " ",
        "add_bos": False,
    }
    found = elasticnas(
        *("search", "--supernet", supernet, "--dataset", dataset["id"], "--evaluations", 8),
        *("--max-length", 40, "--json"),
        server=server,
    )
    assert found.returncode == 0, found.stderr
    search = json.loads(found.stdout)
    assert search["state"] == "completed"
    front = server.client.get(f"/v1/searches/{search['id']}/front").json()
    assert all("acc_norm" in point["metrics"] for point in front["items"])
