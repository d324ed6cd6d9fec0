"""A process that is told to stop ends, whatever hangs in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from elasticnas.cli.stopping import LEFT_BEHIND

HANGS = """
import signal, threading, time
from elasticnas.cli.processes import termination

with termination(1.0) as told:
    threading.Thread(target=time.sleep, args=(3600,)).start()  # Python waits for it at its end
    print("ready", flush=True)
    told.wait()
    {then}
"""

SHORTER = """
import threading, time
from elasticnas.cli.stopping import Deadline

deadline = Deadline()
deadline.within(3600)
deadline.within(0.5)
deadline.within(3600)
print("ready", flush=True)
time.sleep(3600)
"""


@pytest.mark.parametrize("then", ["pass", "time.sleep(3600)"], ids=["a thread", "the main thread"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_hangs_is_left_behind(then: str, number: signal.Signals):
    process = start(HANGS.format(then=then))
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == LEFT_BEHIND
    assert "left behind" in said
    assert "most recent call first" in said, "the stacks of the threads that hang"


def test_a_deadline_is_brought_forward_and_never_put_off():
    process = start(SHORTER)
    begin = time.monotonic()
    assert process.wait(timeout=120) == LEFT_BEHIND
    assert time.monotonic() - begin < 100


def start(script: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process
