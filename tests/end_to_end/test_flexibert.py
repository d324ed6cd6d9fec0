"""A heterogeneous super-network through REST: uploaded, searched, exported, loaded elsewhere."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from tests.cli.test_commands import elasticnas
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


def test_a_published_architecture_is_named_priced_and_trained_first(
    server: Server, tmp_path: Path
) -> None:
    checkpoint = write_heterogeneous(tmp_path / "heterogeneous")
    supernet, dataset = server.register(checkpoint, write_rows(tmp_path / "rows.jsonl"))
    _, train = server.register(checkpoint, write_rows(tmp_path / "train.jsonl", count=60))
    told = {"l": 2, "o": ["c", "l"], "p": [5, "dft"], "h": [24, 12], "n": [2, 1]}
    file = tmp_path / "published.json"
    file.write_text(json.dumps(told | {"f": [[20, 20], [10]]}))
    named = elasticnas("supernet", "model-dict", supernet, file, "--json", server=server)
    assert named.returncode == 0, named.stderr
    found = json.loads(named.stdout)
    assert found["subnet"]["depth"] == 2
    assert found["subnet"]["layer.0.ffn.layers"] == 2
    priced = server.client.post(
        f"/v1/supernets/{supernet}/cost", json={"subnet": found["subnet"]}
    ).json()
    assert found["cost"] == priced
    searched = elasticnas(
        *("search", "--supernet", supernet, "--dataset", dataset, "--model-dict", file),
        *("--fine-tune", train, "--fine-tune-set", "steps=4", "--max-length", 16),
        *("--evaluations", 1, "--json"),
        server=server,
    )
    assert searched.returncode == 0, searched.stderr
    (evaluation,) = server.evaluations(json.loads(searched.stdout)["id"])
    assert evaluation["origin"] == "given"
    assert evaluation["subnet"] == found["subnet"]
    assert evaluation["state"] == "completed"
    file.write_text(json.dumps(told | {"f": [[20] * 4, [10]]}))
    refused = elasticnas("supernet", "model-dict", supernet, file, server=server)
    assert refused.returncode == 2
    assert "model_dict/f/0" in refused.stderr
