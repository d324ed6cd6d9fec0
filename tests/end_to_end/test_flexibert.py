"""A heterogeneous super-network through REST: uploaded, searched, exported, loaded elsewhere."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from tests.end_to_end.server import Server, write_rows
from tests.end_to_end.test_eftnas import check_export
from tests.supernet.heterogeneous import write_heterogeneous
from tests.supernet.test_onnx_export import needs_onnx

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("one_hidden", [True, False])
def test_a_heterogeneous_super_network_is_searched_and_a_subnet_exported(
    server: Server, tmp_path: Path, one_hidden: bool
) -> None:
    checkpoint = write_heterogeneous(tmp_path / "heterogeneous", one_hidden=one_hidden)
    supernet, dataset = server.register(checkpoint, write_rows(tmp_path / "rows.jsonl"))
    read = server.client.get(f"/v1/supernets/{supernet}").json()
    assert read["model_type"] == "flexibert"
    parts = {
        d["part"] for d in server.client.get(f"/v1/supernets/{supernet}/space").json()["dimensions"]
    }
    assert {"operation", "kernel", "hidden", "heads", "ffn", "ffn_layers", "blocks"} == parts
    search = server.search(
        supernet,
        dataset,
        max_length=16,
        objectives=["accuracy", "gflops"],
        budget={"evaluations": 24},
    )
    found = server.finish(search)
    assert found["state"] == "completed", found["error"]
    measured = server.evaluations(search)
    chosen = {
        tuple(v for n, v in each["subnet"].items() if n.endswith(".operation")) for each in measured
    }
    assert len(chosen) > 4
    (tmp_path / "files").mkdir()
    check_export(server, search, len(measured) - 1, checkpoint, tmp_path / "files")


@needs_onnx
def test_a_graph_is_downloaded_and_is_right_on_as_many_rows_as_the_search_says(
    server: Server, tmp_path: Path
) -> None:
    """By the client, run by ONNX Runtime: no tensor of ours in between."""
    from onnxruntime import InferenceSession

    checkpoint = write_heterogeneous(tmp_path / "heterogeneous", one_hidden=True)
    rows = write_rows(tmp_path / "rows.jsonl")
    supernet, dataset = server.register(checkpoint, rows)
    search = server.search(supernet, dataset, max_length=16, budget={"evaluations": 6})
    assert server.finish(search)["state"] == "completed"
    evaluation = server.evaluations(search)[-1]
    answer = server.weights(search, evaluation["number"], "onnx")
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as pack:
        pack.extractall(tmp_path / "files")
    (folder,) = (tmp_path / "files").iterdir()
    session = InferenceSession(folder / "model.onnx")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    right = 0
    told = [json.loads(line) for line in rows.read_text().splitlines()]
    for row in told:
        encoded = tokenizer(
            [row["sentence"]],
            truncation=True,
            max_length=16,
            return_token_type_ids=True,
            return_tensors="np",
        )
        given = {each.name: encoded[each.name] for each in session.get_inputs()}
        (logits,) = session.run(None, given)
        right += int(logits.argmax() == row["label"])
    assert right / len(told) == pytest.approx(evaluation["metrics"]["accuracy"])
