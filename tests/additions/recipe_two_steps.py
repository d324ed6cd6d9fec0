"""A recipe of two steps: shake the weights of a model, then train it as LoNAS does."""

from __future__ import annotations

import shutil

import torch
from safetensors.torch import load_file, save_file

from elasticnas.api_schemas.recipes import RECIPES, Recipe
from elasticnas.api_schemas.training import TrainingSettings
from elasticnas.supernet.methods.step import StepRun


class ShakenSettings(TrainingSettings):
    """Those of LoNAS, and how strongly and how often the weights are shaken."""

    strength: float = 1e-3
    times: int = 6


def shake(run: StepRun) -> None:
    """Add noise to the weights, again and again."""
    weights = "model.safetensors"
    tensors = load_file((run.saved or run.source) / weights)
    first = 0 if run.saved is None else int((run.saved / "times").read_text())
    for time in range(first, run.settings.times):
        torch.manual_seed(time)
        for name in sorted(tensors):
            tensors[name] += run.settings.strength * torch.randn_like(tensors[name])

        def save(folder, done=time + 1):
            save_file(tensors, folder / weights)
            (folder / "times").write_text(str(done))

        norm = float(sum(tensor.norm() for tensor in tensors.values()))
        run.advance(time + 1, run.settings.times, {"norm": norm}, save=save, save_every=1)
    for file in run.source.iterdir():
        if file.name != weights:
            shutil.copy(file, run.output)
    save_file(tensors, run.output / weights, metadata={"format": "pt"})


RECIPES.register(
    "shaken-lonas",
    Recipe(
        ShakenSettings,
        {
            "shake": "tests.additions.recipe_two_steps:shake",
            "train": "elasticnas.supernet.methods.lonas:train",
        },
    ),
)
