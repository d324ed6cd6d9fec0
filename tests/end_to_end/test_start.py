"""A server answers before the worker inside it has loaded."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.backing import free_port
from tests.end_to_end.server import START_SECONDS, Server

SLOW_TORCH = """
import sys
import time
from pathlib import Path

class UntilTold:
    def find_spec(self, name, *_):
        while name == "torch" and not Path(__file__).with_suffix(".go").exists():
            time.sleep(0.02)

sys.meta_path.insert(0, UntilTold())
"""
"""A plugin with which torch takes as long to import as a test wants."""


@pytest.mark.slow
def test_a_server_answers_while_its_worker_loads_and_says_so(tmp_path: Path):
    (tmp_path / "slow_torch.py").write_text(SLOW_TORCH)
    server = Server(
        tmp_path / "data", PYTHONPATH=str(tmp_path), ELASTICNAS_PLUGINS='["slow_torch"]'
    ).start()
    try:
        assert server.client.get("/readyz").json() == {"status": "ok", "worker": "loading"}
        (loading,) = server.client.get("/v1/workers").json()["items"]
        assert (loading["alive"], loading["loading"]) == (True, True)
        assert (loading["device"], loading["precisions"]) == ("auto", None)
        (tmp_path / "slow_torch.go").touch()
        deadline = time.monotonic() + START_SECONDS
        while server.client.get("/readyz").json()["worker"] == "loading":
            assert time.monotonic() < deadline, server.log()
            time.sleep(0.1)
        while not (workers := server.client.get("/v1/workers").json()["items"]):
            assert time.monotonic() < deadline, server.log()
            time.sleep(0.1)
        (loaded,) = workers
        assert (loaded["alive"], loaded["loading"]) == (True, False)
        assert "float32" in loaded["precisions"]
    finally:
        (tmp_path / "slow_torch.go").touch()
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("abacus", "--device: this is not a device (found abacus)"),
        pytest.param(
            "mps",
            "device: this machine has no such device (found mps)",
            marks=[
                pytest.mark.skipif(sys.platform == "darwin", reason="which has one"),
                pytest.mark.slow,
            ],
        ),
    ],
)
def test_a_worker_that_cannot_begin_ends_its_server_with_one_line(tmp_path: Path, device, message):
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "elasticnas.cli.main", "serve", "--device", device),
            *("--port", str(free_port()), "--data-dir", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith(f"elasticnas: {message}")
    # What its spelling shows is refused before the server listens; the other, torch must tell.
    assert ("Application startup complete" in ended.stderr) == (device == "mps")


def test_what_only_a_request_or_a_search_needs_is_not_imported_to_listen():
    heavy = ("torch", "transformers", "scipy", "sklearn", "optuna", "matplotlib", "boto3")
    code = (
        "import sys, elasticnas.service.app, elasticnas.service.http.server\n"
        f"print(set({heavy}) & set(sys.modules), 'huggingface_hub.hf_api' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set() False\n"
