from __future__ import annotations

import subprocess
import sys

import pytest

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import Dimension, DimensionKind
from elasticnas.search.space import SearchSpace
from tests.search.spaces import space


def test_size_counts_every_combination():
    assert space(layers=2).size == 12**2
    assert len(set(space(layers=2).enumerate())) == 12**2


def test_maximal_and_minimal_take_the_ends_of_every_list():
    assert set(space().maximal.values()) == {12, 1536}
    assert set(space().minimal.values()) == {6, 384}


@pytest.mark.parametrize(
    ("choices", "heuristic"), [((32, 28), 32), ((8, 4, 2), 4), ((5, 4, 3, 2), 4), ((7,), 7)]
)
def test_heuristic_takes_the_larger_middle_as_lonas_does(choices, heuristic):
    dimension = Dimension(name="r", kind=DimensionKind.RANK, choices=choices)
    assert SearchSpace((dimension,)).heuristic["r"] == heuristic


def test_encode_is_the_inverse_of_decode():
    for subnet in space(layers=1).enumerate():
        assert space(layers=1).decode(space(layers=1).encode(subnet)) == subnet


def test_a_dimension_left_out_takes_its_largest_choice():
    subnet = space().subnet({"layer.1.ffn.width": 384})
    assert subnet["layer.1.ffn.width"] == 384
    assert subnet["layer.0.ffn.width"] == 1536


@pytest.mark.parametrize(
    ("choices", "field"),
    [({"layer.9.ffn.width": 384}, "layer.9.ffn.width"), ({"layer.0.ffn.width": 5}, "layer.0.ffn")],
)
def test_a_wrong_name_or_choice_is_named_in_the_error(choices, field):
    with pytest.raises(InputError, match=field):
        space().subnet(choices)


def test_choices_must_descend_without_repeats():
    for choices in ((2, 4), (4, 4), ()):
        with pytest.raises(ValueError, match="choices"):
            Dimension(name="r", kind=DimensionKind.RANK, choices=choices)


def test_two_dimensions_may_not_share_a_name():
    dimension = Dimension(name="r", kind=DimensionKind.RANK, choices=(2, 1))
    with pytest.raises(InputError, match="two dimensions"):
        SearchSpace((dimension, dimension))


def test_the_key_is_the_same_in_every_process():
    code = "from tests.search.spaces import space; print(space().heuristic.key)"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert output == space().heuristic.key
    assert space().heuristic.key != space().maximal.key
