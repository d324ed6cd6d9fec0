"""EFTNAS's folders through REST: uploaded as they are, searched, exported and loaded elsewhere."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.forward.activation import activate
from tests.end_to_end.server import Server, write_rows
from tests.supernet.eftnas import config, half_end, write_folder
from tests.supernet.stranger import Stranger
from tests.supernet.tiny import sentences

pytestmark = pytest.mark.slow


def check_export(server: Server, search: str, number: int, checkpoint: Path, into: Path) -> None:
    """The weights of an evaluation, loaded by stock Transformers, give what is sliced here."""
    evaluation = server.evaluations(search)[number]
    answer = server.weights(search, number, "transformers")
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as pack:
        pack.extractall(into)
    (folder,) = into.iterdir()
    supernet = read_supernet(checkpoint).to(torch.device("cpu"), torch.float32)
    subnet = supernet.space.subnet(
        {n: tuple(c) if isinstance(c, list) else c for n, c in evaluation["subnet"].items()}
    )
    encoded = dict(load_tokenizer(supernet)(sentences(6), padding=True, return_tensors="pt"))
    with torch.inference_mode():
        expected = activate(supernet, subnet).logits(encoded)
    stranger = Stranger()
    try:
        found = stranger.load(folder, "transformers-with-code", supernet)
    finally:
        stranger.close()
    torch.testing.assert_close(torch.tensor(found["logits"]), expected, rtol=1e-3, atol=1e-3)


def test_a_genuine_folder_is_searched_and_a_subnet_exported(
    server: Server, shared_data: Path, tmp_path: Path
):
    checkpoint = tmp_path / "eftnas"
    shutil.copytree(shared_data / "eftnas-minilm-sst2", checkpoint)
    supernet, dataset = server.register(checkpoint, shared_data / "sst2" / "validation.jsonl")
    assert server.client.get(f"/v1/supernets/{supernet}").json()["method"] == "eftnas"
    space = server.client.get(f"/v1/supernets/{supernet}/space").json()
    entries = [
        entry
        for entry in json.loads((checkpoint / "reference.json").read_text())
        if entry["name"] in ("min", "heuristic")
    ]
    units = {"heads": 32, "ffn": 1}
    subnets = [
        {
            dimension["name"]: entry["widths"][str(index)] // units[dimension["part"]]
            for index, dimension in enumerate(space["dimensions"])
        }
        for entry in entries
    ]
    search = server.search(
        supernet,
        dataset,
        max_length=64,
        objectives=["accuracy", "gflops"],
        precision="float32",
        initial_subnets=subnets,
        strategy={"name": "nsga2", "population_size": 4},
        budget={"evaluations": 6},
    )
    found = server.finish(search)
    assert found["state"] == "completed", found["error"]
    measured = server.evaluations(search)
    assert len(measured) == 6
    for entry, subnet in zip(entries, subnets, strict=True):
        (own,) = [each for each in measured if each["subnet"] == subnet]
        assert own["metrics"]["accuracy"] == pytest.approx(entry["accuracy"], abs=1e-9)
    check_export(server, search, 0, checkpoint, tmp_path / "weights")


def test_skipped_blocks_are_searched_and_a_subnet_without_one_exported(
    server: Server, tmp_path: Path
):
    blocks = [[half_end(0, "ffn"), half_end(1, "attention")]]
    checkpoint = write_folder(tmp_path / "eftnas", config(blocks=blocks))
    supernet, dataset = server.register(checkpoint, write_rows(tmp_path / "rows.jsonl"))
    search = server.search(
        supernet,
        dataset,
        objectives=["accuracy", "gflops"],
        initial_subnets=[{"skipped_blocks": ["1.attention"]}],
        strategy={"name": "nsga2", "population_size": 10},
        budget={"evaluations": 30},
    )
    found = server.finish(search)
    assert found["state"] == "completed", found["error"]
    measured = server.evaluations(search)
    skipping = [each for each in measured if each["subnet"]["skipped_blocks"] == ["1.attention"]]
    assert 0 < len(skipping) < len(measured) == 30
    check_export(server, search, skipping[0]["number"], checkpoint, tmp_path / "weights")
