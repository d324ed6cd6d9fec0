"""Where and how a worker computes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from elasticnas.api_schemas.precision import Precision


@dataclass(frozen=True)
class Compute:
    """A device, the precision used unless a search asks for another, and a measurement's bounds."""

    device: torch.device
    precision: Precision
    token_budget: int
    timeout_seconds: float | None
