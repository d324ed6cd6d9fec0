"""What training needs to go on from a step: weights, optimiser, and how far it is."""

from __future__ import annotations

import io
from pathlib import Path

import torch

STATE_FILE = "training_state.pt"


def save(
    folder: Path,
    step: int,
    trainable: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write the state after so many steps into a folder."""
    content = io.BytesIO()  # torch's own writing to a file does not say why it failed
    torch.save(
        {
            "step": step,
            "tensors": {name: tensor.detach() for name, tensor in trainable.items()},
            "optimizer": optimizer.state_dict(),
        },
        content,
    )
    (folder / STATE_FILE).write_bytes(content.getbuffer())


def restore(
    folder: Path, trainable: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer
) -> int:
    """Put the saved state back; returns how many steps were done."""
    state = torch.load(folder / STATE_FILE, map_location="cpu", weights_only=True)
    with torch.no_grad():
        for name, tensor in trainable.items():
            tensor.copy_(state["tensors"][name])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])
