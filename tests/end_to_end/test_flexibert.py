"""A heterogeneous super-network through REST: uploaded, searched, exported, loaded elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.server import Server, write_rows
from tests.end_to_end.test_eftnas import check_export
from tests.supernet.heterogeneous import write_heterogeneous

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
