"""The refusal of a picture that has nothing to show yet."""

from __future__ import annotations

from elasticnas.service.http.problems import ProblemError, refuse


def nothing_to_draw(detail: str) -> ProblemError:
    """409: the same request is answered once the search has measured more."""
    return refuse("nothing-to-draw", f"{detail}; ask again when the search has measured more")
