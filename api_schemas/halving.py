"""Races over the steps of trainings: successive halving."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Halving(BaseModel):
    """Train many subnets a little, and the best of them on.

    ``eta ** (rungs - 1)`` subnets, a bracket, climb a ladder of ``rungs``. On each rung all are
    trained ``eta`` times as far as on the one before, on the last to the end; the best of every
    ``eta`` go on. Successive halving: Jamieson & Talwalkar 2016, "Non-stochastic Best Arm
    Identification and Hyperparameter Optimization".
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    eta: Annotated[int, Field(ge=2, le=10)] = 3
    rungs: Annotated[int, Field(ge=2, le=8)] = 3

    @property
    def bracket(self) -> int:
        """How many subnets begin together."""
        return int(self.eta ** (self.rungs - 1))

    @property
    def last(self) -> int:
        """The rung on which trainings end."""
        return self.rungs - 1

    def steps(self, rung: int, whole: int) -> int:
        """How many of the ``whole`` training's steps are made by the end of a rung."""
        return int(whole // self.eta ** (self.last - rung))


class RungRead(BaseModel):
    """What a subnet measured after so many ``steps`` of its training."""

    model_config = ConfigDict(frozen=True)

    steps: int
    metrics: dict[str, float]
