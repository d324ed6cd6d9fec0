"""Where the training of a subnet begins, if not with the super-network's weights."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class StartedFrom(BaseModel):
    """The evaluation whose trained weights the training of another one begins with.

    ``overlap`` is the share of the new subnet's parameters that are taken from it: those of the
    first ``layers`` layers, and those that belong to no layer.
    """

    model_config = ConfigDict(frozen=True)

    number: int
    overlap: float
    layers: int
