"""What training needs to go on from a step: weights, optimiser, and how far it is."""

from __future__ import annotations

import io
from pathlib import Path

import torch

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.training import TrainingSettings

STATE_FILE = "training_state.pt"


def save(
    folder: Path,
    settings: TrainingSettings,
    step: int,
    trainable: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write the state after so many steps into a folder."""
    content = io.BytesIO()  # torch's own writing to a file does not say why it failed
    torch.save(
        {
            "settings": _plain(settings),
            "step": step,
            "tensors": {name: tensor.detach() for name, tensor in trainable.items()},
            "optimizer": optimizer.state_dict(),
        },
        content,
    )
    (folder / STATE_FILE).write_bytes(content.getbuffer())


def restore(
    folder: Path,
    settings: TrainingSettings,
    trainable: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
) -> int:
    """Put the saved state back; returns how many steps were done.

    Raises:
        InputError: it was saved with other settings.
    """
    state = torch.load(folder / STATE_FILE, map_location="cpu", weights_only=True)
    if state["settings"] != _plain(settings):
        changed = [
            name for name, value in _plain(settings).items() if state["settings"].get(name) != value
        ]
        raise InputError(
            "the training was begun with other settings",
            field="resume",
            value=", ".join(changed),
            remedy="resume with the settings it was begun with, or choose another output folder",
        )
    with torch.no_grad():
        for name, tensor in trainable.items():
            tensor.copy_(state["tensors"][name])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _plain(settings: TrainingSettings) -> dict[str, object]:
    """The settings as the state file has them: torch reads no enumeration back from one."""
    return settings.model_dump() | {"sampling": settings.sampling.value}
