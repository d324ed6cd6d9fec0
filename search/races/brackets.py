"""Races over the steps of trainings: of a bracket of subnets the best are trained on.

Successive halving (`Halving`). All subnets of a bracket are trained to the end of a rung; then the
best go on from there, and the others are stopped. The best are those of the lowest non-domination
rank in what they measured on this rung and what they cost (Schmucker et al. 2021, "Multi-objective
Asynchronous Successive Halving"); of one rank, one after the other, whichever adds most to the
hypervolume of those that go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np

from elasticnas.api_schemas.halving import Halving
from elasticnas.search.evolution import ranks
from elasticnas.search.pareto import Losses, hypervolume


class Fate(Enum):
    """What has become of a subnet."""

    CLIMBING = auto()
    """It is trained for its rung, or waits behind it for the others."""
    STOPPED = auto()
    """It is trained no more."""
    ENDED = auto()
    """It was trained to the end."""
    FAILED = auto()


@dataclass
class Climber:
    """A subnet of the bracket that is named after its first number.

    It is trained for ``rung``. ``reached`` are its losses (m,) at the end of each rung so far.
    """

    number: int
    bracket: int
    rung: int = 0
    reached: tuple[Losses, ...] = ()
    fate: Fate = Fate.CLIMBING

    @property
    def waits(self) -> bool:
        """Whether it has reached the end of its rung, and the others have not."""
        return self.fate is Fate.CLIMBING and len(self.reached) > self.rung


@dataclass(frozen=True)
class Moves:
    """Who is trained on, for its next rung, and who no more."""

    promoted: tuple[int, ...] = ()
    stopped: tuple[int, ...] = ()


class Brackets:
    """The brackets of a search. What happens in them follows from what was measured alone.

    ``climbers`` are those of a search that goes on, by rising number.
    """

    def __init__(self, halving: Halving, climbers: Iterable[Climber] = ()) -> None:
        self._halving = halving
        self._brackets: dict[int, dict[int, Climber]] = {}
        self._of: dict[int, int] = {}
        self._open: int | None = None
        for climber in climbers:
            self._enter(climber)
            self._open = climber.bracket
        if self._open is not None and not self._may_grow(self._brackets[self._open].values()):
            self._open = None

    def join(self, number: int) -> int:
        """A subnet begins: it joins the open bracket, or opens one. The bracket's name."""
        name = number if self._open is None else self._open
        self._enter(Climber(number, name))
        self._open = name if len(self._brackets[name]) < self._halving.bracket else None
        return name

    def climber(self, number: int) -> Climber | None:
        """How far a subnet is; None if it is in no bracket, or in one that is over."""
        name = self._of.get(number)
        return None if name is None else self._brackets[name][number]

    def is_in_the_open(self, number: int) -> bool:
        """Whether a subnet is in the bracket that others may join."""
        return self._open is not None and self._of.get(number) == self._open

    def close(self) -> None:
        """Nobody joins the open bracket any more."""
        self._open = None

    def reach(self, number: int, losses: Losses) -> None:
        """A subnet has come to ``losses`` (m,) at the end of its rung."""
        climber = self._climbing(number)
        climber.reached = (*climber.reached, losses)
        if climber.rung == self._halving.last:
            climber.fate = Fate.ENDED

    def fail(self, number: int) -> None:
        """A subnet could not be trained or measured."""
        self._climbing(number).fate = Fate.FAILED

    def move(self) -> Moves:
        """Where all have reached the end of a rung: promote the best, and stop the others."""
        promoted: list[int] = []
        stopped: list[int] = []
        for name, bracket in self._brackets.items():
            if name == self._open:
                continue
            for rung in range(self._halving.last):
                here = [
                    each
                    for each in bracket.values()
                    if each.fate is Fate.CLIMBING and each.rung == rung
                ]
                if not here or not all(each.waits for each in here):
                    continue
                best = self._best(here)
                for place, climber in enumerate(here):
                    if place in best:
                        climber.rung += 1
                        promoted.append(climber.number)
                    else:
                        climber.fate = Fate.STOPPED
                        stopped.append(climber.number)
        return Moves(tuple(sorted(promoted)), tuple(sorted(stopped)))

    def settle(self) -> dict[int, Losses]:
        """What is expected of those stopped in brackets that are over: losses (m,) by number.

        What they measured, and what those that were trained on gained from that rung to the end,
        on average; nobody's costs change. A bracket is over when nobody climbs any more; it is then
        forgotten.
        """
        expected: dict[int, Losses] = {}
        for name, bracket in list(self._brackets.items()):
            if name == self._open or any(c.fate is Fate.CLIMBING for c in bracket.values()):
                continue
            ended = [each for each in bracket.values() if each.fate is Fate.ENDED]
            for climber in bracket.values():
                if climber.fate is Fate.STOPPED:
                    expected[climber.number] = _expected(climber, ended)
                del self._of[climber.number]
            del self._brackets[name]
        return expected

    def _enter(self, climber: Climber) -> None:
        self._brackets.setdefault(climber.bracket, {})[climber.number] = climber
        self._of[climber.number] = climber.bracket

    def _climbing(self, number: int) -> Climber:
        climber = self.climber(number)
        assert climber is not None
        return climber

    def _may_grow(self, bracket: Iterable[Climber]) -> bool:
        """Whether a bracket was still open, as far as its rows tell; if not, it closes again."""
        members = list(bracket)
        has_moved = any(
            each.rung > 0 or each.fate in (Fate.STOPPED, Fate.ENDED) for each in members
        )
        return len(members) < self._halving.bracket and not has_moved

    def _best(self, climbers: Sequence[Climber]) -> set[int]:
        """The places of those that go on: one of every ``eta``, and one at least."""
        count = max(1, len(climbers) // self._halving.eta)
        return set(best(np.stack([each.reached[-1] for each in climbers]), count))


def best(losses: Losses, count: int) -> list[int]:
    """The places of the best ``count`` rows of ``losses`` (n, m), the best first; of equal ones the
    first."""
    reference = np.ones(losses.shape[1])
    rank = ranks(losses, enough=count)
    chosen: list[int] = []
    for level in range(int(rank.max()) + 1):
        left = np.flatnonzero(rank == level).tolist()
        while left and len(chosen) < count:
            gains = [hypervolume(losses[[*chosen, place]], reference) for place in left]
            chosen.append(left.pop(int(np.argmax(gains))))
    return chosen


def _expected(stopped: Climber, ended: Sequence[Climber]) -> Losses:
    here = len(stopped.reached) - 1
    gains = [each.reached[-1] - each.reached[here] for each in ended]
    if not gains:
        return stopped.reached[-1]
    return np.asarray(np.maximum(stopped.reached[-1] + np.mean(gains, axis=0), 0.0))
