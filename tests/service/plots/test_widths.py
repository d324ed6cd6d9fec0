"""The mean widths of a front, layer by layer."""

from __future__ import annotations

import numpy as np

from elasticnas.api_schemas.spaces import Dimension, DimensionKind
from elasticnas.search.space import SearchSpace
from elasticnas.service.plots.widths import width_shares


def dimension(name: str, kind: DimensionKind, *choices: int) -> Dimension:
    return Dimension(name=name, kind=kind, choices=choices)


def test_a_share_is_the_mean_over_the_front_of_the_largest_choice():
    space = SearchSpace(
        (
            dimension("layer.0.heads", DimensionKind.HEADS, 12, 6, 3),
            dimension("layer.1.heads", DimensionKind.HEADS, 12, 6),
            dimension("layer.1.ffn.width", DimensionKind.WIDTH, 1000, 100),
        )
    )
    parts, shares = width_shares(space, [(0, 1, 1), (2, 1, 0)])
    assert parts == ["heads", "ffn.width"]
    np.testing.assert_allclose(shares, [[0.625, 0.5], [np.nan, 0.55]])


def test_a_layer_that_is_left_out_does_not_count_in_the_others_rows():
    space = SearchSpace(
        (
            dimension("depth", DimensionKind.DEPTH, 2, 1),
            dimension("layer.0.heads", DimensionKind.HEADS, 12, 6),
            dimension("layer.1.heads", DimensionKind.HEADS, 12, 6),
        )
    )
    parts, shares = width_shares(space, [(0, 1, 1), (1, 1, 0)])
    assert parts == ["kept", "heads"]
    np.testing.assert_allclose(shares, [[1.0, 0.5], [0.5, 0.5]])


def test_what_belongs_to_no_layer_has_no_row():
    space = SearchSpace((dimension("embedding.width", DimensionKind.WIDTH, 64, 32),))
    parts, shares = width_shares(space, [(0,)])
    assert parts == []
    assert shares.size == 0
