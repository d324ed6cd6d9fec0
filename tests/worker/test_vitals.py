"""What a worker says of its machine, and of how busy it is."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest
import torch

from elasticnas.worker import vitals
from elasticnas.worker.vitals import BusyShare, device_name, memory


class Clock:
    """A clock that a test moves on."""

    def __init__(self) -> None:
        self.moment = 100.0

    def __call__(self) -> float:
        return self.moment


def test_the_busy_share_is_of_the_time_since_it_was_taken_last():
    clock = Clock()
    share = BusyShare(clock)
    clock.moment += 6
    with share.work():
        clock.moment += 2
    assert share.take() == pytest.approx(0.25)
    clock.moment += 5
    assert share.take() == 0


def test_work_that_goes_on_counts_on_both_sides_of_a_take():
    clock = Clock()
    share = BusyShare(clock)
    clock.moment += 1
    with share.work():
        clock.moment += 1
        assert share.take() == pytest.approx(0.5)
        clock.moment += 3
        assert share.take() == 1
        assert share.take() == 1  # no time has passed


def test_a_step_beside_an_evaluation_does_not_count_twice():
    clock = Clock()
    share = BusyShare(clock)
    with share.work():
        clock.moment += 1
        with share.work():
            clock.moment += 1
    clock.moment += 2
    assert share.take() == pytest.approx(0.5)


def test_work_that_fails_is_over():
    clock = Clock()
    share = BusyShare(clock)
    with pytest.raises(ZeroDivisionError), share.work():
        raise ZeroDivisionError
    clock.moment += 1
    assert share.take() == 0


def test_a_processor_calls_itself_what_the_system_says(tmp_path, monkeypatch):
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: Fast Processor 9 @ 3 GHz\nflags\t: a b\n")
    assert vitals.processor_name(file) == "Fast Processor 9 @ 3 GHz"
    monkeypatch.setattr("platform.processor", lambda: "")
    assert vitals.processor_name(tmp_path / "absent") is None
    assert device_name(torch.device("meta")) is None


def test_memory_counts_the_processes_that_a_worker_has_started():
    hold = "import time; held = bytearray(64 * 2**20); print('held', flush=True); time.sleep(60)"
    before = memory(torch.device("cpu"))
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        held = psutil.Process(child.pid).memory_info().rss
        after = memory(torch.device("cpu"))
        child.kill()
    assert after.resident_bytes - before.resident_bytes > held - 16 * 2**20
    assert before.limit_bytes == after.limit_bytes


def test_a_device_in_trouble_does_not_end_the_signs_of_life(monkeypatch):
    def fail(_device: torch.device) -> tuple[int, int]:
        raise RuntimeError("an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "mem_get_info", fail)
    found = memory(torch.device("cuda:0"))
    assert (found.device_used_bytes, found.device_total_bytes) == (None, None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (3, 10))
    found = memory(torch.device("cuda:0"))
    assert (found.device_used_bytes, found.device_total_bytes) == (7, 10)
