"""Transformer2vec: edit distances against a plain recursion, points against classical scaling."""

from __future__ import annotations

from functools import cache
from math import log2

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr
from sklearn.linear_model import BayesianRidge
from sklearn.model_selection import KFold, cross_val_predict

from benchmarks.problems import tables
from elasticnas.api_schemas.spaces import BLOCKS, FFN, HEADS, HIDDEN, Dimension
from elasticnas.search.space import SearchSpace
from elasticnas.search.surrogates.layer_sequences import LayerSequences
from elasticnas.search.surrogates.transformer2vec import Transformer2vec, placing

SPACE = tables.flexibert_space()

needs_tables = pytest.mark.skipif(
    not (tables.FOLDER / "nas-bench-bert").is_dir(), reason="the published tables are not here"
)


def random(count, seed=0, space=SPACE):
    counts = np.array(space.cardinalities)
    drawn = np.floor(np.random.default_rng(seed).random((count, len(counts))) * counts)
    return space.activity.canonical(drawn.astype(np.intp))


def layers_of(subnet):
    """Per layer: operation, hidden size, heads, widths of the feed-forward stack."""
    return [
        (
            subnet[f"layer.{layer}.operation"],
            subnet["hidden"],
            subnet[f"layer.{layer}.heads"],
            [subnet[f"layer.{layer}.ffn.width"]] * subnet[f"layer.{layer}.ffn.layers"],
        )
        for layer in range(subnet["depth"])
    ]


def between(one, two):
    """What it costs to change one layer into another."""
    kinds = one[0].split("-")[0] == two[0].split("-")[0]
    cost = 0.0 if one[0] == two[0] else 1.0 if kinds else 2.0
    cost += abs(log2(one[1] / two[1])) + abs(log2(one[2] / two[2]))
    width, other = one[3], two[3]
    for place in range(max(len(width), len(other))):
        if place < min(len(width), len(other)):
            cost += abs(log2(width[place] / other[place]))
        else:
            cost += 1 + log2((width if place < len(width) else other)[place] / 512)
    return cost


def alone(layer):
    """What it costs to put a layer in."""
    return (
        1
        + (1 + log2(layer[1] / 128))
        + (1 + log2(layer[2] / 2))
        + sum(1 + log2(width / 512) for width in layer[3])
    )


def edit_distance(one, two):
    @cache
    def tail(i, j):
        ways = []
        if i < len(one):
            ways.append(alone(one[i]) + tail(i + 1, j))
        if j < len(two):
            ways.append(alone(two[j]) + tail(i, j + 1))
        if i < len(one) and j < len(two):
            ways.append(between(one[i], two[j]) + tail(i + 1, j + 1))
        return min(ways, default=0.0)

    return tail(0, 0)


def test_the_distance_is_that_of_a_plain_recursion():
    one, two = random(12, 1), random(15, 2)
    found = LayerSequences(SPACE).distance(one, two)
    sequences = [[layers_of(SPACE.decode(row)) for row in rows.tolist()] for rows in (one, two)]
    expected = [[edit_distance(a, b) for b in sequences[1]] for a in sequences[0]]
    np.testing.assert_allclose(found, expected)


def test_the_distance_is_a_metric():
    subnets = np.unique(random(60), axis=0)
    found = LayerSequences(SPACE).distance(subnets, subnets)
    np.testing.assert_allclose(found, found.T)
    assert np.array_equal(found == 0, np.eye(len(subnets), dtype=bool))
    assert (found[:, None, :] <= found[:, :, None] + found[None, :, :] + 1e-9).all()


def test_a_shifted_sequence_is_nearer_than_one_with_all_layers_changed():
    names = [f"layer.{layer}.operation" for layer in range(4)]
    here = dict(zip(names, ("sa-sdp", "l-dft", "c-9", "sa-wma"), strict=True))
    shifted = dict(zip(names, ("l-dft", "c-9", "sa-wma", "sa-sdp"), strict=True))
    changed = dict(zip(names, ("c-5", "sa-wma", "l-dct", "c-5"), strict=True))
    small = {f"layer.{layer}.ffn.layers": 1 for layer in range(4)}
    rows = np.array([SPACE.encode(SPACE.subnet(each | small)) for each in (here, shifted, changed)])
    distance = LayerSequences(SPACE).distance(rows, rows)
    # Position by position all four layers of both differ in kind or, once, in the operation.
    assert distance[0, 1] <= distance[0, 2]


def test_depth_without_conditions_and_layers_that_differ_in_their_choices():
    space = SearchSpace(
        (
            Dimension(name="depth", part=BLOCKS, choices=(2, 1)),
            Dimension(name="hidden", part=HIDDEN, choices=(64, 32)),
            Dimension(name="a", part=HEADS, layer=0, choices=(4, 2)),
            Dimension(name="b", part=HEADS, layer=7, choices=(8, 4)),
            Dimension(name="c", part=FFN, layer=7, choices=("wide", "narrow"), ordered=True),
            Dimension(name="d", part="gate", layer=7, choices=("on", "off"), ordered=False),
        )
    )
    every = np.array([space.encode(each) for each in space.enumerate()])
    distance = LayerSequences(space).distance(every, every)
    assert np.array_equal(distance == 0, np.eye(len(every), dtype=bool))
    at = {tuple(row): distance[0, index] for index, row in enumerate(every.tolist())}
    assert at[0, 0, 0, 1, 0, 0] == pytest.approx(1)
    assert at[0, 0, 0, 0, 1, 0] == pytest.approx(1)
    assert at[0, 0, 0, 0, 0, 1] == pytest.approx(1)
    assert at[0, 1, 0, 0, 0, 0] == pytest.approx(2)  # once in each of two layers


def test_points_have_the_distances_that_they_were_placed_by():
    true = np.random.default_rng(0).normal(size=(40, 3))
    squared = cdist(true, true) ** 2
    points = (squared - squared.mean(axis=0)) @ placing(squared)
    assert points.shape == (40, 3)
    ratio = (
        cdist(points, points)[~np.eye(40, dtype=bool)] / cdist(true, true)[~np.eye(40, dtype=bool)]
    )
    np.testing.assert_allclose(ratio, ratio[0])
    assert points[:, 0].std() == pytest.approx(1.0)
    # One that had no part in it stands where it should.
    new = np.random.default_rng(1).normal(size=(10, 3))
    away = (cdist(new, true) ** 2 - squared.mean(axis=0)) @ placing(squared)
    np.testing.assert_allclose(cdist(away, points), ratio[0] * cdist(new, true), rtol=1e-6)


def test_a_landmark_stands_where_classical_scaling_put_it():
    embedding = Transformer2vec(SPACE)
    landmarks = embedding.landmarks
    squared = LayerSequences(SPACE).distance(landmarks, landmarks) ** 2
    count = len(landmarks)
    centring = np.eye(count) - 1 / count
    values, vectors = np.linalg.eigh(-0.5 * centring @ squared @ centring)
    expected = (vectors * np.sqrt(np.maximum(values, 0)))[:, ::-1][:, :16]
    found = embedding.own(landmarks)
    np.testing.assert_allclose(
        np.abs(found), np.abs(expected) / expected[:, 0].std(), rtol=1e-6, atol=1e-8
    )


def test_points_keep_the_order_of_distances_and_are_the_same_each_time():
    subnets = random(150, 5)
    points = Transformer2vec(SPACE).own(subnets)
    assert np.array_equal(points, Transformer2vec(SPACE).own(subnets[::-1])[::-1])
    edits = LayerSequences(SPACE).distance(subnets, subnets)
    assert spearmanr(edits.ravel(), cdist(points, points).ravel()).statistic > 0.9


def test_the_nearest_to_a_point_is_nearer_than_the_librarys():
    embedding = Transformer2vec(SPACE)
    points = embedding.own(random(20, 9))
    found = embedding.own(embedding.nearest(points))
    apart = ((found - points) ** 2).sum(axis=1)
    library = cdist(points, embedding.own(random(1000, 3)), "sqeuclidean").min(axis=1)
    assert (apart <= library).all()
    assert apart.mean() < 0.5 * library.mean()
    assert np.array_equal(
        embedding.nearest(embedding.own(embedding.landmarks[:5])), embedding.landmarks[:5]
    )


@needs_tables
def test_a_plain_regression_on_it_ranks_published_models():
    problem, value = tables.bert().problem, tables.bert().value
    glue = value(problem.members)
    points = Transformer2vec(problem.space).own(problem.members)
    folds = KFold(10, shuffle=True, random_state=0)
    predicted = cross_val_predict(BayesianRidge(), points, glue, cv=folds)
    assert spearmanr(predicted, glue).statistic >= 0.9
