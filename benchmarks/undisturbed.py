"""A step of a recipe that a benchmark runs from its beginning to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from elasticnas.supernet.methods.step import StepRun, TrainingData


def undisturbed(settings: Any, source: Path, data: TrainingData, output: Path) -> StepRun:
    """A run on the processor that nobody watches, saves or stops; arguments as `StepRun` has."""
    return StepRun(
        settings=settings,
        source=source,
        data=data,
        output=output,
        saved=None,
        device=torch.device("cpu"),
        tell=lambda _: None,
        keep=lambda _, __: None,
        must_stop=lambda: False,
    )
