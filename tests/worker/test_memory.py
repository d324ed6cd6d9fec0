"""How much memory a worker takes: of its container's, where that has less than the host."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from elasticnas.worker import settings as module
from elasticnas.worker.memory import host_bytes
from elasticnas.worker.settings import WorkerSettings

GIB = 2**30


class Groups:
    """Fake files of control groups."""

    def __init__(self, folder: Path, membership: str | None) -> None:
        self.root = folder / "cgroup"
        self.membership = folder / "membership"
        if membership is not None:
            self.membership.write_text(membership)

    def limit(self, file: str, text: str | int) -> Groups:
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
        return self

    def bytes(self) -> int:
        return host_bytes(self.root, self.membership)


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host of 64 GiB."""
    real = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: real._replace(total=64 * GIB))


def test_without_control_groups_it_is_the_hosts(tmp_path: Path):
    assert Groups(tmp_path, None).bytes() == 64 * GIB
    assert Groups(tmp_path, "0::/\n").bytes() == 64 * GIB


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        # A container, version 2: its own group is mounted as the root.
        ("0::/", {"memory.max": 4 * GIB}, 4),
        ("0::/", {"memory.max": "max"}, 64),
        ("0::/", {"memory.max": 128 * GIB}, 64),
        # A service of systemd: the lowest limit of the groups around it counts.
        (
            "0::/work.slice/worker.service",
            {"work.slice/memory.max": 3 * GIB, "work.slice/worker.service/memory.max": "max"},
            3,
        ),
        ("0::/a/b", {"a/memory.max": 9 * GIB, "a/b/memory.max": 5 * GIB}, 5),
        # Version 1, in a container whose path only the host can see.
        (
            "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x",
            {"memory/memory.limit_in_bytes": 2 * GIB},
            2,
        ),
        ("4:memory:/docker/x", {"memory/docker/x/memory.limit_in_bytes": 6 * GIB}, 6),
        ("4:memory:/", {"memory/memory.limit_in_bytes": 9223372036854771712}, 64),
        # Both: version 1 limits memory, version 2 is there for other things.
        ("4:memory:/\n0::/", {"memory/memory.limit_in_bytes": 7 * GIB}, 7),
    ],
)
def test_the_lower_of_the_hosts_and_the_control_groups_counts(
    tmp_path: Path, membership: str, files: dict[str, str | int], expected: int
):
    groups = Groups(tmp_path, membership)
    for file, text in files.items():
        groups.limit(file, text)
    assert groups.bytes() == expected * GIB


def test_a_worker_takes_its_share_of_what_there_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "host_bytes", lambda: 6 * GIB)
    assert WorkerSettings(device="cpu").warm_bytes() == 2 * GIB
    assert WorkerSettings(device="cpu").prefix_bytes() == 6 * GIB // 8
    shared = WorkerSettings(device="cpu", memory_sharers=4)
    assert shared.warm_bytes() == GIB // 2
    assert shared.prefix_bytes() == 6 * GIB // 32
    assert WorkerSettings(device="cpu", memory_sharers=4, warm_gib=1).warm_bytes() == GIB
