"""What a worker says of the machine that it runs on, and of how busy it is."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import torch

from elasticnas.api_schemas.workers import WorkerMemory
from elasticnas.worker.memory import host_bytes

PROCESSORS = Path("/proc/cpuinfo")


class BusyShare:
    """Measures the share of time in which there is work in hand; any thread may begin and end work.

    Args:
        clock: the present moment in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._works = 0
        self._busy_seconds = 0.0
        self._taken_at = self._counted_at = clock()

    @contextmanager
    def work(self) -> Iterator[None]:
        """Have work in hand."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def take(self) -> float:
        """The share of the time since it was taken last, 0 to 1."""
        with self._lock:
            now = self._advance()
            seconds = now - self._taken_at
            share = self._busy_seconds / seconds if seconds > 0 else float(self._works > 0)
            self._taken_at, self._busy_seconds = now, 0.0
        return min(share, 1.0)

    def _count(self, change: int) -> None:
        with self._lock:
            self._advance()
            self._works += change

    def _advance(self) -> float:
        now = self._clock()
        if self._works:
            self._busy_seconds += now - self._counted_at
        self._counted_at = now
        return now


def device_name(device: torch.device) -> str | None:
    """What the device calls itself, by the driver of a CUDA device or as the model of a processor;
    None where it says nothing."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return processor_name()
    return None


def processor_name(file: Path = PROCESSORS) -> str | None:
    """The model of the processor; None where the system does not say."""
    with suppress(OSError):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or None


def memory(device: torch.device) -> WorkerMemory:
    """The memory of this process and those that it has started, and of its device."""
    used, total = _device_memory(device)
    return WorkerMemory(
        resident_bytes=_resident_bytes(),
        limit_bytes=host_bytes(),
        device_used_bytes=used,
        device_total_bytes=total,
    )


def _resident_bytes() -> int:
    this = psutil.Process()
    resident = 0
    for process in (this, *this.children(recursive=True)):
        with suppress(psutil.Error):  # it has ended meanwhile
            resident += int(process.memory_info().rss)
    return resident


def _device_memory(device: torch.device) -> tuple[int | None, int | None]:
    if device.type == "cuda":
        with suppress(RuntimeError):  # a device in trouble must not end the signs of life
            free, total = torch.cuda.mem_get_info(device)
            return total - free, total
    return None, None
