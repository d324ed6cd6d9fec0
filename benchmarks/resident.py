"""The memory of a child process at its peaks, as Linux counts it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20
LOOK_SECONDS = 0.01


@dataclass(frozen=True)
class Peaks:
    """The most of a process's memory at any one time, in bytes, and what it printed.

    ``resident`` is all of it (VmHWM, exact). ``anonymous`` is what no file could give back, and
    ``mapped`` what the system drops when it needs the room: both looked at every 10 ms.
    """

    resident: int
    anonymous: int
    mapped: int
    output: str


def peaks_of(module: str, arguments: Sequence[str]) -> Peaks:
    """Run ``python -m module arguments`` and watch it.

    Raises:
        CalledProcessError: it failed.
    """
    command = [sys.executable, "-m", module, *arguments]
    most = {"VmHWM": 0, "RssAnon": 0, "RssFile": 0}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            for line in status.read_text().splitlines():
                name, _, said = line.partition(":")
                if name in most:
                    most[name] = max(most[name], 1024 * int(said.split()[0]))
            time.sleep(LOOK_SECONDS)
        output = "" if process.stdout is None else process.stdout.read()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Peaks(most["VmHWM"], most["RssAnon"], most["RssFile"], output)
