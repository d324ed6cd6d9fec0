"""How much of the host's memory this process may use: its own control group's limit, if lower."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import psutil

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def host_bytes(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """The host's memory, or the limit of the control groups that this process is in, in bytes."""
    return min([int(psutil.virtual_memory().total), *_limits(cgroups, membership)])


def _limits(cgroups: Path, membership: Path) -> list[int]:
    """Every limit on this process: those of its control group, and of the groups around that.

    A line of ``membership`` is ``id:controllers:path``. Version 2 has no controllers in it and one
    tree, version 1 a tree for memory; a host may have both. In a container the path may be one that
    only the host can see, while the container's own group is mounted as the root: the root counts
    in any case.
    """
    try:
        lines = membership.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []  # no Linux
    limits = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, name = cgroups, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = cgroups / "memory", "memory.limit_in_bytes"
        else:
            continue
        inner = PurePosixPath(path.lstrip("/"))
        for group in (inner, *inner.parents):
            if (limit := _limit(root / group / name)) is not None:
                limits.append(limit)
    return limits


def _limit(file: Path) -> int | None:
    """The bytes in a limit's file; None where there is none, or no such file."""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() and int(text) > 0 else None
