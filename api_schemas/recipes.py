"""Recipes: how a method makes a model, mostly a super-network, as a list of named steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from elasticnas.api_schemas.eftnas_training import EftnasSettings
from elasticnas.api_schemas.finetuning import FinetuneSettings
from elasticnas.api_schemas.flexibert_training import FlexiBertSettings
from elasticnas.api_schemas.flexora_training import FlexoraSettings
from elasticnas.api_schemas.jobs import JobKind
from elasticnas.api_schemas.registry import Registry
from elasticnas.api_schemas.training import DeriveSettings, ShearsSettings, TrainingSettings


@dataclass(frozen=True)
class Recipe:
    """What one may set, the steps in their order, and what kind of job does them.

    A training begins with a pretrained model and leaves a super-network.

    A step is named by where its function is, as ``module:function``, so that whoever only accepts a
    recipe need not import what computes it. It is a `supernet.methods.step.Step`.
    """

    settings: type[BaseModel]
    steps: Mapping[str, str]
    kind: JobKind = JobKind.TRAINING


RECIPES: Registry[Recipe] = Registry("recipe")

RECIPES.register(
    "lonas", Recipe(TrainingSettings, {"train": "elasticnas.supernet.methods.lonas:train"})
)
RECIPES.register(
    "shears",
    Recipe(
        ShearsSettings,
        {
            "sparsify": "elasticnas.supernet.methods.wanda:sparsify",
            "train": "elasticnas.supernet.methods.shears:train",
        },
    ),
)
RECIPES.register(
    "derive", Recipe(DeriveSettings, {"derive": "elasticnas.supernet.methods.derive:derive"})
)
RECIPES.register(
    "eftnas",
    Recipe(
        EftnasSettings,
        {
            step: f"elasticnas.supernet.methods.eftnas:{step}"
            for step in ("teacher", "importance", "space", "reorder", "train")
        },
    ),
)
RECIPES.register(
    "flexibert",
    Recipe(
        FlexiBertSettings,
        {
            step: f"elasticnas.supernet.methods.flexibert:{step}"
            for step in ("teacher", "widen", "train")
        },
    ),
)
RECIPES.register(
    "flexora",
    Recipe(
        FlexoraSettings,
        {step: f"elasticnas.supernet.methods.flexora:{step}" for step in ("select", "finetune")},
    ),
)
FINETUNE = "finetune"
RECIPES.register(
    FINETUNE,
    Recipe(
        FinetuneSettings,
        {
            "train": "elasticnas.supernet.methods.finetune:train",
            "measure": "elasticnas.supernet.methods.finetune:measure",
        },
        JobKind.FINETUNING,
    ),
)
