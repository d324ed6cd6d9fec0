"""The mean widths of a front, layer by layer."""

from __future__ import annotations

import numpy as np

from elasticnas.api_schemas.spaces import (
    BLOCKS,
    FFN,
    HEADS,
    HIDDEN,
    Condition,
    Dimension,
    Presence,
    leading,
)
from elasticnas.search.space import SearchSpace
from elasticnas.service.plots.shares import width_shares


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
    parts, shares = width_shares(space, (), [(0, 1, 1), (2, 1, 0)])
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
    presences = leading(space.dimensions[0], 2)
    parts, shares = width_shares(space, presences, [(0, 1, 1), (1, 1, 0)])
    assert parts == ["kept", "heads"]
    np.testing.assert_allclose(shares, [[1.0, 0.5], [0.5, 0.5]])


def test_what_belongs_to_no_layer_has_no_row():
    space = SearchSpace((dimension(None, HIDDEN, 64, 32),))
    parts, shares = width_shares(space, (), [(0,)])
    assert parts == []
    assert shares.size == 0


def test_halves_of_layers_that_are_left_out_have_a_row_each():
    skipped = Dimension(name="skip", part=BLOCKS, choices=("none", "attention 0"), ordered=False)
    space = SearchSpace((skipped, dimension(0, HEADS, 12, 6), dimension(0, FFN, 10, 5)))
    kept = Presence(layer=0, half="attention", when=Condition(dimension="skip", choices=("none",)))
    parts, shares = width_shares(space, [kept], [(0, 1, 1), (1, 0, 0)])
    assert parts == ["attention kept", "ffn kept", "heads", "ffn"]
    np.testing.assert_allclose(shares, [[0.5], [1.0], [0.5], [0.75]])


def test_a_dimension_that_is_not_active_does_not_count():
    operation = Dimension(name="o", part="operation", layer=0, choices=("a", "b"), ordered=False)
    width = Dimension(
        name="w",
        part=FFN,
        layer=0,
        choices=(10, 5),
        active_when=(Condition(dimension="o", choices=("b",)),),
    )
    parts, shares = width_shares(SearchSpace((operation, width)), (), [(0, 0), (1, 1)])
    assert parts == ["ffn"]
    np.testing.assert_allclose(shares, [[0.5]])
