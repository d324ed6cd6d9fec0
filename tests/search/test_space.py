from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import RANK, Condition, Dimension
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
    dimension = Dimension(name="r", part=RANK, choices=choices)
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
            Dimension(name="r", part=RANK, choices=choices)


def test_two_dimensions_may_not_share_a_name():
    dimension = Dimension(name="r", part=RANK, choices=(2, 1))
    with pytest.raises(InputError, match="two dimensions"):
        SearchSpace((dimension, dimension))


def test_the_key_is_the_same_in_every_process():
    code = "from tests.search.spaces import space; print(space().heuristic.key)"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert output == space().heuristic.key
    assert space().heuristic.key != space().maximal.key


def conditional() -> SearchSpace:
    """Two blocks that may be left out; the first one's width matters where it convolves."""
    return SearchSpace(
        (
            # Before the dimensions that it waits for: their order does not matter.
            Dimension(
                name="width",
                part="ffn",
                layer=0,
                choices=(4, 2, 1),
                active_when=(Condition(dimension="operation", choices=("convolution",)),),
            ),
            Dimension(
                name="operation",
                part="operation",
                layer=0,
                choices=("convolution", "attention"),
                ordered=False,
                active_when=(Condition(dimension="blocks", choices=((0, 1), (0,))),),
            ),
            Dimension(name="blocks", part="blocks", choices=((0, 1), (0,), (1,)), ordered=False),
        )
    )


def test_what_is_not_active_has_its_first_choice_and_so_equal_subnets_are_equal():
    searched = conditional()
    attention = searched.subnet({"operation": "attention"})
    assert attention == searched.subnet({"operation": "attention", "width": 1})
    assert attention.key == searched.decode((2, 1, 0)).key
    # The operation of a block that is left out is not active, nor is what depends on it.
    assert dict(searched.decode((2, 1, 2))) == {
        "width": 4,
        "operation": "convolution",
        "blocks": (1,),
    }


def test_the_size_counts_distinct_subnets():
    searched = conditional()
    every = {searched.decode(each) for each in itertools.product(range(3), range(2), range(3))}
    assert searched.size == len(every) == 2 * (3 + 1) + 1
    assert sorted(each.key for each in searched.enumerate()) == sorted(e.key for e in every)


def test_many_conditional_dimensions_are_counted_at_once():
    dimensions = []
    for block in range(60):
        kept = Condition(dimension=f"{block}.kept", choices=("yes",))
        dimensions.append(
            Dimension(name=f"{block}.kept", part="blocks", choices=("yes", "no"), ordered=False)
        )
        dimensions.append(
            Dimension(name=f"{block}.ffn", part="ffn", choices=(3, 2, 1), active_when=(kept,))
        )
    # Those that depend on others may come behind all of them.
    dimensions.sort(key=lambda each: each.part == "ffn")
    assert SearchSpace(tuple(dimensions)).size == 4**60


@pytest.mark.parametrize(
    ("conditions", "complaint"),
    [
        ({"a": ("b", (1,)), "b": ("a", (1,))}, "circle"),
        ({"a": ("a", (1,))}, "circle"),
        ({"a": ("c", (1,))}, "no such dimension"),
        ({"a": ("b", (7,))}, "no such dimension or choice"),
    ],
)
def test_conditions_that_cannot_be_are_refused(conditions, complaint):
    with pytest.raises(InputError, match=complaint):
        SearchSpace(
            tuple(
                Dimension(
                    name=name,
                    part=RANK,
                    choices=(2, 1),
                    active_when=tuple(
                        Condition(dimension=other, choices=choices)
                        for each, (other, choices) in conditions.items()
                        if each == name
                    ),
                )
                for name in ("a", "b")
            )
        )


def test_choices_are_integers_strings_or_tuples_and_keep_their_type_in_json():
    dimension = Dimension(name="o", part="operation", choices=("3", 3, (3, "3")), ordered=False)
    again = Dimension.model_validate_json(dimension.model_dump_json())
    assert again == dimension
    searched = SearchSpace((again,))
    assert len({each.key for each in searched.enumerate()}) == 3
    assert searched.subnet({"o": (3, "3")}) == searched.minimal
