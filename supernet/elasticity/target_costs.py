"""A search space for target costs: one threshold for the whole model, found for each of them.

EFTNAS (Munoz et al. 2024, section 3.1): what scores above a threshold gives widths, the widths a
cost; the threshold is bisected until the cost is near its target. The space has in each layer the
widths of all targets. Layers that matter more are so cut less.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch

from elasticnas.supernet.elasticity.axes import Axis, Scores, Widths

DISCARDED = 0.02
"""A width below this share of the full one counts as none."""

STEPS = 64
"""So often an interval is halved at most: by then two neighbouring doubles are left of it."""


@dataclass(frozen=True)
class Halving:
    """One step of a bisection: a threshold, and what the model costs at it."""

    threshold: float
    cost: float


@dataclass(frozen=True)
class TargetWidths:
    """What was found for a target: ``widths`` of the axes that are kept, and those ``skipped``.

    ``message`` says how far the nearest cost is off where no threshold meets the target.
    """

    target: float
    threshold: float
    cost: float
    widths: Widths
    skipped: frozenset[Axis]
    steps: tuple[Halving, ...]
    message: str | None = None


@dataclass(frozen=True)
class Bisection:
    """The search for thresholds: ``widths_at`` a threshold, and the ``cost`` of widths.

    ``units`` are the full widths. Thresholds are looked for in ``interval``, which holds all scores
    strictly within; a cost within ``tolerance`` of its target meets it.
    """

    widths_at: Callable[[float], Widths]
    cost: Callable[[Widths], float]
    units: Widths
    tolerance: float
    interval: tuple[float, float] = (-1.0, 1.0)

    def find(self, target: float) -> TargetWidths:
        """The widths whose cost is nearest to a target."""
        low, high = self.interval
        steps: list[Halving] = []
        while len(steps) < STEPS:
            threshold = (low + high) / 2
            step = Halving(threshold, self.cost(self._kept(threshold)))
            steps.append(step)
            if abs(step.cost - target) <= self.tolerance:
                return self._found(target, step, steps)
            if step.cost < target:
                high = threshold
            else:
                low = threshold
        nearest = min(steps, key=lambda step: abs(step.cost - target))
        return self._found(
            target,
            nearest,
            steps,
            f"no threshold gives a cost within {self.tolerance:g} of {target:g}: the nearest is "
            f"{nearest.cost:g}",
        )

    def _kept(self, threshold: float) -> dict[Axis, int]:
        """The widths at a threshold, none where hardly anything is left."""
        return {
            axis: 0 if width < DISCARDED * self.units[axis] else width
            for axis, width in self.widths_at(threshold).items()
        }

    def _found(
        self, target: float, step: Halving, steps: Sequence[Halving], message: str | None = None
    ) -> TargetWidths:
        kept = self._kept(step.threshold)
        return TargetWidths(
            target=target,
            threshold=step.threshold,
            cost=step.cost,
            widths={axis: width for axis, width in kept.items() if width},
            skipped=frozenset(axis for axis, width in kept.items() if not width),
            steps=tuple(steps),
            message=message,
        )


def linear_cost(each: Mapping[Axis, float], fixed: float) -> Callable[[Widths], float]:
    """The cost of widths where every unit of an axis costs as much (`axes.unit_macs`)."""
    return lambda widths: fixed + sum(each[axis] * width for axis, width in widths.items())


def original_targets(lowest: int, highest: int, count: int) -> list[int]:
    """EFTNAS's targets: even steps from the lowest, and in place of the last the highest.

    One less than ``count`` where the steps end at the highest.
    """
    targets = list(range(lowest, highest, (highest - lowest) // (count - 1)))
    return [*targets[:-1], highest]


def ranked_widths(scores: Scores) -> Callable[[float], Widths]:
    """The widths at a threshold between 0 and 1, the share of all units that is cut off.

    Of the scores only the order counts: a few that are much larger than all others leave the
    bisection's steps as even as ever.
    """
    everything = torch.cat([score.flatten() for score in scores.values()]).double()
    ranks = torch.empty(len(everything), dtype=torch.float64)
    ranks[torch.argsort(everything, stable=True)] = (
        torch.arange(len(everything), dtype=torch.float64) + 0.5
    ) / len(everything)
    sizes = [score.numel() for score in scores.values()]
    parts = dict(zip(scores, torch.split(ranks, sizes), strict=True))
    return lambda threshold: {a: int((rank > threshold).sum()) for a, rank in parts.items()}


def choices_of(targets: Collection[TargetWidths], units: Widths) -> dict[Axis, tuple[int, ...]]:
    """The widths of every axis at all targets, and its full one, the largest first."""
    return {
        axis: tuple(
            sorted({full} | {t.widths[axis] for t in targets if axis in t.widths}, reverse=True)
        )
        for axis, full in units.items()
    }
