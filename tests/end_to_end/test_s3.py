"""The main job with blobs in S3, and a worker that shares no folder with the server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.server import Server, write_rows
from tests.s3 import S3Server
from tests.supernet.test_reader import write_lonas


def settings_for(s3: S3Server, bucket: str) -> dict[str, str]:
    return {
        "ELASTICNAS_BLOBS_URL": f"s3://{bucket}/nas",
        "ELASTICNAS_BLOBS_ENDPOINT_URL": s3.url,
        "ELASTICNAS_BLOBS_REGION": "us-east-1",
    }


@pytest.mark.slow
@pytest.mark.parametrize("s3", ["seaweedfs_server", "moto_server"], indirect=True)
def test_a_worker_elsewhere_needs_the_queue_and_s3_alone(
    serve: Callable[..., Server], s3: S3Server, redis_url: str, tmp_path: Path
):
    bucket = s3.bucket()
    server = serve("--redis-url", redis_url, **settings_for(s3, bucket))
    elsewhere = tmp_path / "elsewhere"
    worker = subprocess.Popen(
        [
            *(sys.executable, "-m", "elasticnas.cli.main", "worker", "--redis-url", redis_url),
            *("--data-dir", str(elsewhere), "--device", "cpu"),
        ],
        env={**os.environ, **settings_for(s3, bucket), "ELASTICNAS_BLOB_CACHE_BYTES": "100000"},
    )
    try:
        checkpoint = write_lonas(tmp_path / "checkpoint")
        ids = server.register(checkpoint, write_rows(tmp_path / "rows.jsonl"))
        search = server.search(*ids, budget={"evaluations": 20})
        assert server.finish(search)["progress"]["completed"] == 20
        assert server.weights(search, 0, "transformers").status_code == 200
        assert not (server.data_dir / "blobs").exists()
        assert {path.name for path in elsewhere.iterdir()} == {"blob-cache", "worker"}
        kept = [p for p in (elsewhere / "blob-cache" / "blobs").rglob("*") if p.is_file()]
        assert 0 < sum(path.stat().st_size for path in kept) <= 100_000
        worker.terminate()
        assert worker.wait(timeout=60) == 0
    finally:
        worker.kill()
        worker.wait()


def test_a_server_whose_bucket_is_not_there_says_so_in_one_line(s3: S3Server, tmp_path: Path):
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "elasticnas.cli.main",
            "serve",
            "--data-dir",
            str(tmp_path / "data"),
        ],
        env={**os.environ, **settings_for(s3, "nose")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert "blobs_url: there is no bucket nose (found s3://nose/nas)" in ended.stderr
    assert "Traceback" not in ended.stderr
