"""Optuna's Gaussian process sampler: the one part of the optimiser that runs on torch.

Only a search by `gp` imports this module, and with it torch, into the process that drives it.
"""

from __future__ import annotations

import torch  # noqa: F401 - Optuna would import it at the first proposal: let it be seen here
from optuna.samplers import GPSampler

from elasticnas.api_schemas.strategies import GpSettings


def gp_sampler(settings: GpSettings, seed: int) -> GPSampler:
    """A sampler for one proposal."""
    return GPSampler(seed=seed, n_startup_trials=settings.n_startup_trials)
