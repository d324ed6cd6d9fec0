"""How long a user waits for the command line, and for a server that is started.

    python -m benchmarks.start

Each is started several times, one after the other; the best and the median are printed, in seconds.
Those of the processor are what a start takes on a core that has nothing else to do. A server has an
empty data folder the first time, so that it makes its database, and finds it again from then on.
While its worker loads, it is asked for ``/readyz`` all the time: the longest answer is what a
client may have to wait.
"""

from __future__ import annotations

import argparse
import json
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

import psutil

COMMAND = (sys.executable, "-m", "elasticnas.cli.main")
PROBE_SECONDS = 0.02


class Start(NamedTuple):
    """A server's start, in seconds."""

    first_answer: float
    processor: float
    """Of the processor, until the first answer."""
    worker_ready: float
    longest_answer: float


def help_seconds() -> tuple[float, float]:
    """How long ``elasticnas --help`` takes, of the clock and of the processor."""
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*COMMAND, "--help"], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return time.perf_counter() - begin, processor


def server_start(folder: Path) -> Start:
    """Start a server with a worker inside, and stop it once the worker is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    begin = time.perf_counter()
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", str(port), "--data-dir", str(folder)],
        stderr=subprocess.DEVNULL,
    )
    first, processor, longest = None, 0.0, 0.0
    try:
        while True:
            asked = time.perf_counter()
            state = _worker_state(port)
            if state is not None:
                if first is None:
                    first = time.perf_counter() - begin
                    spent = psutil.Process(process.pid).cpu_times()
                    processor = spent.user + spent.system
                longest = max(longest, time.perf_counter() - asked)
            if first is not None and state == "ready":
                return Start(first, processor, time.perf_counter() - begin, longest)
            time.sleep(PROBE_SECONDS)
    finally:
        process.terminate()
        process.wait()


def _worker_state(port: int) -> str | None:
    """What ``/readyz`` says of the worker inside; None before the server answers."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=30) as answer:
            return str(json.load(answer)["worker"])
    except (URLError, ConnectionError):
        return None


def report(what: str, seconds: list[float]) -> None:
    """Print the best and the median."""
    print(f"{what:<42} best {min(seconds):6.2f} s, median {statistics.median(seconds):6.2f} s")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    times = parser.parse_args().times
    help_seconds()  # the files are read from the disk once
    helps = [help_seconds() for _ in range(times)]
    report("elasticnas --help", [clock for clock, _ in helps])
    report("elasticnas --help, of the processor", [processor for _, processor in helps])
    with tempfile.TemporaryDirectory() as folder:
        new = server_start(Path(folder))
        again = [server_start(Path(folder)) for _ in range(times)]
    report("serve, new database: first 200 of /readyz", [new.first_answer])
    report("serve: first 200 of /readyz", [start.first_answer for start in again])
    report("serve: the same, of the processor", [start.processor for start in again])
    report("serve: the worker inside is ready", [start.worker_ready for start in again])
    report("serve: longest answer while it loads", [start.longest_answer for start in again])


if __name__ == "__main__":
    main()
