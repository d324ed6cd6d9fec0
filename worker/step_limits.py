"""What a step of a job may take of its worker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepLimits:
    """What a step may take: the share of the device's memory, and silence before it is killed.

    ``shares_device`` says that evaluations may run beside it on the same device.
    """

    device: str
    shares_device: bool
    memory_share: float
    silence_seconds: float
