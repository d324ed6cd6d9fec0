"""A plugin: every unit of every step of a job takes a second more, time to be killed in its middle.

What the steps do is the same: they only stand still behind each save point.
"""

from __future__ import annotations

import time
from typing import Any

from elasticnas.supernet.methods.step import StepRun

SECONDS = 1.0

_advance = StepRun.advance


def _slowly(run: StepRun, *given: Any, **named: Any) -> None:
    _advance(run, *given, **named)
    time.sleep(SECONDS)


StepRun.advance = _slowly  # type: ignore[method-assign]
