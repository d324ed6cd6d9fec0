"""The mean widths of a front, layer by layer."""

from __future__ import annotations

import numpy as np

from elasticnas.api_schemas.spaces import BLOCKS, FFN, HEADS, HIDDEN, Dimension
from elasticnas.search.space import SearchSpace
from elasticnas.service.plots.widths import width_shares


def dimension(layer: int | None, part: str, *choices: int) -> Dimension:
    return Dimension(name=f"{part}.{layer}", part=part, layer=layer, choices=choices)


def test_a_share_is_the_mean_over_the_front_of_the_largest_choice():
    space = SearchSpace(
        (
            dimension(0, HEADS, 12, 6, 3),
            dimension(1, HEADS, 12, 6),
            dimension(1, FFN, 1000, 100),
        )
    )
    parts, shares = width_shares(space, [(0, 1, 1), (2, 1, 0)])
    assert parts == ["heads", "ffn"]
    np.testing.assert_allclose(shares, [[0.625, 0.5], [np.nan, 0.55]])


def test_a_layer_that_is_left_out_does_not_count_in_the_others_rows():
    space = SearchSpace(
        (
            dimension(None, BLOCKS, 2, 1),
            dimension(0, HEADS, 12, 6),
            dimension(1, HEADS, 12, 6),
        )
    )
    parts, shares = width_shares(space, [(0, 1, 1), (1, 1, 0)])
    assert parts == ["kept", "heads"]
    np.testing.assert_allclose(shares, [[1.0, 0.5], [0.5, 0.5]])


def test_what_belongs_to_no_layer_has_no_row():
    space = SearchSpace((dimension(None, HIDDEN, 64, 32),))
    parts, shares = width_shares(space, [(0,)])
    assert parts == []
    assert shares.size == 0
