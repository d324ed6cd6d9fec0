"""Copies from the host's memory to a device."""

from __future__ import annotations

import torch


def sent_to(device: torch.device, tensor: torch.Tensor) -> torch.Tensor:
    """``tensor`` on ``device``. A GPU fetches it from pinned memory, and nobody waits for that.

    PyTorch keeps the pinned memory until the copy is done.
    """
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
