"""The refusal of a picture that has nothing to show yet."""

from __future__ import annotations

from elasticnas.service.http.problems import ProblemError, refuse
from elasticnas.service.plots.subject import Subject


def nothing_to_draw(detail: str) -> ProblemError:
    """409: the same request is answered once the search has measured more."""
    return refuse("nothing-to-draw", f"{detail}; ask again when the search has measured more")


def require_front(subject: Subject) -> None:
    """Go on where there is a front to draw.

    Raises:
        ProblemError: nothing has been measured yet (409).
    """
    if not subject.front:
        raise nothing_to_draw("no subnet has been measured yet")
