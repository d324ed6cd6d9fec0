"""What a selection of adapters found, as its step leaves it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from elasticnas.api_schemas.flexora_training import OuterRows, Rule
from elasticnas.api_schemas.spaces import SubnetChoices


class Verdict(StrEnum):
    """What the repeats say of a group."""

    SELECTED = "selected"
    """All keep it."""
    NOT_SELECTED = "not selected"
    """None does."""
    UNDECIDED = "undecided"


class GroupReport(BaseModel):
    """A group of adapters, over all repeats.

    ``dimension`` is what a search space calls its rank; ``kept`` counts the repeats whose rule
    keeps it. Of ``alpha`` and ``margin``, its alpha less the phantom's, there are the mean and the
    standard deviation, 0 for one repeat. ``leave_one_out`` is by how much the outer loss rises once
    the group is left out of what was learnt, ``derivative`` is that of the outer loss by its gate:
    a group that helps has a positive rise and a negative derivative.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    dimension: str
    modules: tuple[str, ...]
    trainable_params: int
    kept: int
    verdict: Verdict
    alpha: float
    alpha_deviation: float
    margin: float | None
    margin_deviation: float | None
    leave_one_out: float
    derivative: float


class SelectionReport(BaseModel):
    """The groups in the order of the model, and those that are ``selected``, by name.

    ``outer`` says which rows gates learnt from; ``inner_rows`` and ``outer_rows`` how many there
    were of each. ``initial_subnets`` are the chain of the groups that the second stage trains, from
    all to one, the smallest alphas left out first: what a search of its super-network may begin
    with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: Rule
    margin: float
    outer: OuterRows
    inner_rows: int
    outer_rows: int
    repeats: Annotated[int, Field(ge=1)]
    none_helps: bool
    selected: tuple[str, ...]
    groups: tuple[GroupReport, ...]
    initial_subnets: tuple[SubnetChoices, ...]
    priors: dict[str, tuple[float, ...]]

    @property
    def selected_modules(self) -> frozenset[str]:
        """The linear modules of the selected groups."""
        chosen = (group for group in self.groups if group.name in self.selected)
        return frozenset(module for group in chosen for module in group.modules)
