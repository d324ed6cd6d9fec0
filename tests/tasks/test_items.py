"""What of a text is scored: windows."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from elasticnas.tasks.items import Scored, rolling_windows


class Encoder:
    """Of which only the first token is asked."""

    begins_with = 1

    def __call__(self, texts: Sequence[str], *, add_bos: bool | None) -> list[list[int]]:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("tokens", "windows"),
    [
        ([], ()),
        ([5], (Scored((1, 5), 1),)),
        ([5, 6, 7], (Scored((1, 5, 6, 7), 1),)),
        ([5, 6, 7, 8], (Scored((1, 5, 6, 7), 1), Scored((5, 6, 7, 8), 3))),
        (
            [5, 6, 7, 8, 9, 10, 11],
            (Scored((1, 5, 6, 7), 1), Scored((7, 8, 9, 10), 1), Scored((8, 9, 10, 11), 3)),
        ),
    ],
)
def test_rolling_windows_stand_behind_the_token_before_them(
    tokens: list[int], windows: tuple[Scored, ...]
) -> None:
    assert rolling_windows(tokens, Encoder(), 3) == windows
