"""What several repeats of a selection come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, pstdev
from typing import Any

from elasticnas.api_schemas.flexora_training import FineTuned, FlexoraSettings, Rule
from elasticnas.api_schemas.layer_selection import GroupReport, SelectionReport, Verdict
from elasticnas.api_schemas.spaces import SubnetChoices
from elasticnas.supernet.selection.groups import Group
from elasticnas.supernet.selection.left_out import Effects
from elasticnas.supernet.selection.rules import (
    Kept,
    above_mean,
    above_phantom,
    above_zero,
    agreed,
    largest,
)
from elasticnas.supernet.selection.splits import Split


@dataclass(frozen=True)
class Outcome:
    """What one repeat has found. With a phantom the last alpha is its."""

    alphas: list[float]
    effects: Effects

    def as_dict(self) -> dict[str, Any]:
        """What `of_dict` takes."""
        return asdict(self)

    @classmethod
    def of_dict(cls, content: dict[str, Any]) -> Outcome:
        """The inverse of `as_dict`."""
        return cls(content["alphas"], Effects(**content["effects"]))


def kept_by(settings: FlexoraSettings, alphas: Sequence[float]) -> Kept:
    """The groups that the settings' rule keeps in one repeat."""
    groups = alphas[:-1] if settings.has_phantom else alphas
    if settings.rule is Rule.TOP:
        return largest(groups, settings.top or 0)
    if settings.rule is Rule.MEAN:
        return above_mean(groups)
    if settings.rule is Rule.POSITIVE:
        return above_zero(groups)
    return above_phantom(groups, alphas[-1], settings.margin)


def report_of(
    settings: FlexoraSettings,
    groups: Sequence[Group],
    outcomes: Sequence[Outcome],
    split: Split,
    sizes: Sequence[int],
) -> SelectionReport:
    """The report on all repeats; ``sizes`` are the numbers in each group's adapters."""
    kept = [kept_by(settings, each.alphas) for each in outcomes]
    reports = [
        _group(group, place, outcomes, kept, sizes[place], has_phantom=settings.has_phantom)
        for place, group in enumerate(groups)
    ]
    chosen = _selected(settings, reports, kept)
    selected = [group for place, group in enumerate(reports) if place in chosen]
    trained = reports if settings.finetuned is FineTuned.ALL else selected
    return SelectionReport(
        rule=settings.rule,
        margin=settings.margin,
        outer=settings.outer,
        inner_rows=len(split.inner),
        outer_rows=len(split.outer),
        repeats=len(outcomes),
        none_helps=not selected,
        selected=tuple(group.name for group in selected),
        groups=tuple(reports),
        initial_subnets=_chain(settings, trained),
        priors={each.dimension: _prior(settings, each, len(outcomes)) for each in trained},
    )


def _selected(
    settings: FlexoraSettings, reports: Sequence[GroupReport], kept: Sequence[Kept]
) -> Kept:
    if settings.rule is not Rule.TOP:
        return agreed(kept)
    order = sorted(range(len(reports)), key=lambda at: (-reports[at].kept, -reports[at].alpha))
    return frozenset(order[: settings.top])


def _group(
    group: Group,
    place: int,
    outcomes: Sequence[Outcome],
    kept: Sequence[Kept],
    size: int,
    *,
    has_phantom: bool,
) -> GroupReport:
    alphas = [each.alphas[place] for each in outcomes]
    margins = [each.alphas[place] - each.alphas[-1] for each in outcomes]
    count = sum(place in each for each in kept)
    return GroupReport(
        name=group.name,
        dimension=group.dimension,
        modules=group.modules,
        trainable_params=size,
        kept=count,
        verdict=_verdict(count, len(outcomes)),
        alpha=fmean(alphas),
        alpha_deviation=pstdev(alphas),
        margin=fmean(margins) if has_phantom else None,
        margin_deviation=pstdev(margins) if has_phantom else None,
        leave_one_out=fmean(each.effects.rises[place] for each in outcomes),
        derivative=fmean(each.effects.derivatives[place] for each in outcomes),
    )


def _verdict(count: int, repeats: int) -> Verdict:
    if count in (0, repeats):
        return Verdict.SELECTED if count else Verdict.NOT_SELECTED
    return Verdict.UNDECIDED


def _ranks(settings: FlexoraSettings) -> tuple[int, ...]:
    """The choices of every group's rank, of which the last is off."""
    return settings.ranks or (settings.lora_rank, 0)


def _prior(settings: FlexoraSettings, group: GroupReport, repeats: int) -> tuple[float, ...]:
    """The shares of repeats that keep a group, and that do not: Laplace's rule of succession."""
    kept = (group.kept + 1) / (repeats + 2)
    *on, _ = _ranks(settings)
    return (*(kept / len(on) for _ in on), 1 - kept)


def _chain(settings: FlexoraSettings, groups: Sequence[GroupReport]) -> tuple[SubnetChoices, ...]:
    """From all groups to one, the smallest mean alphas off first."""
    ranks = _ranks(settings)
    falling = [group.dimension for group in sorted(groups, key=lambda group: -group.alpha)]
    chain: list[SubnetChoices] = []
    for count in range(len(groups), 0, -1):
        kept = falling[:count]
        on = {group.dimension: group.dimension in kept for group in groups}
        chain.append({name: ranks[0] if each else ranks[-1] for name, each in on.items()})
    return tuple(chain)
