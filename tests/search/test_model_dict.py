"""FlexiBERT's architectures as subnets: which it is, and what is refused by which field."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from elasticnas.api_schemas.model_dicts import ModelDict, model_dict_of
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import Dimension
from elasticnas.search.model_dict import subnet_of
from elasticnas.search.space import SearchSpace
from elasticnas.supernet.operations.default_space import heterogeneous_space
from tests.search import spaces

OPERATIONS = ["sdp", "wma", "conv", "dft", "dct"]
ARCHITECTURE: dict[str, Any] = {
    "l": 3,
    "o": ["sa", "l", "c"],
    "p": ["wma", "dct", 5],
    "h": [256, 128, 128],
    "n": [4, 7, 2],
    "f": [[512, 512], [1024], [256]],
}


def space(*, one_hidden: bool, third: int = 0) -> SearchSpace:
    """Four layers of 256 channels, 4 heads and 1024 neurons, of which the half may be stacked."""
    stack = {"ffn": 1024, "middle": 512, "third": third}
    layer = {"operations": OPERATIONS, "hidden": 256, "heads": 4, **stack}
    made = heterogeneous_space([layer] * 4, one_hidden=one_hidden, depths=(4, 3))
    fields = set(Dimension.model_fields)
    return SearchSpace(
        tuple(Dimension(**each.model_dump(include=fields)) for each in made.dimensions)
    )


HETEROGENEOUS = space(one_hidden=False)


def test_an_architecture_is_the_subnet_with_its_layers():
    found = subnet_of(ModelDict(**ARCHITECTURE), HETEROGENEOUS)
    asked = {
        "depth": 3,
        "layer.0.operation": "wma",
        "layer.0.ffn.width": 512,
        "layer.0.ffn.layers": 2,
        "layer.1.operation": "dct",
        "layer.1.hidden": 128,
        "layer.2.operation": "conv",
        "layer.2.kernel": 5,
        "layer.2.hidden": 128,
        "layer.2.attention.heads": 2,
        "layer.2.ffn.width": 256,
    }
    assert found == HETEROGENEOUS.subnet(asked)


def test_a_stack_is_as_high_as_the_super_networks_may_be():
    changed = ARCHITECTURE | {"f": [[512, 512, 512], [1024], [256]]}
    found = subnet_of(ModelDict(**changed), space(one_hidden=False, third=512))
    assert found["layer.0.ffn.layers"] == 3


def test_the_longer_names_of_a_config_say_the_same():
    config = {
        "model_type": "flexibert",
        "num_hidden_layers": 3,
        "attention_type": ARCHITECTURE["o"],
        "similarity_list": ARCHITECTURE["p"],
        "hidden_dim_list": ARCHITECTURE["h"],
        "attention_heads_list": ARCHITECTURE["n"],
        "ff_dim_list": ARCHITECTURE["f"],
    }
    assert model_dict_of(config) == model_dict_of(ARCHITECTURE) == ARCHITECTURE


@pytest.mark.parametrize(
    ("changed", "field", "remedy"),
    [
        ({"l": 4}, "o", ""),
        ({"l": 2, "o": [], "p": [], "h": [], "n": [], "f": []}, "o", ""),
        ({"p": ["wma", "sdp", 5]}, "p/1", "l dft"),
        ({"p": [5, "dct", 5]}, "p/0", "sa sdp"),
        ({"p": ["wma", "dct", 7]}, "p/2", "9, 5"),
        ({"h": [256, 128, 96]}, "h/2", "256, 192, 128"),
        ({"n": [5, 7, 2]}, "n/0", "4, 3, 2"),
        ({"f": [[512, 512, 512], [1024], [256]]}, "f/0", "a stack of 2"),
        ({"f": [[512, 256], [1024], [256]]}, "f/0", "alike"),
        ({"f": [[512], [1024, 1024], [256]]}, "f/1", "a stack of 1"),
        ({"f": [[512], [1000], [256]]}, "f/1", "1024, 512, 256"),
    ],
)
def test_what_the_super_network_does_not_have_is_named_with_what_it_has(changed, field, remedy):
    with pytest.raises(InputError) as refused:
        subnet_of(ModelDict(**{**ARCHITECTURE, **changed}), HETEROGENEOUS)
    assert refused.value.field == f"model_dict/{field}"
    assert remedy in (refused.value.remedy or "")


def test_layers_of_one_hidden_size_are_told_so():
    with pytest.raises(InputError, match="same hidden") as refused:
        subnet_of(ModelDict(**ARCHITECTURE), space(one_hidden=True))
    assert refused.value.field == "model_dict/h/1"
    alike = ARCHITECTURE | {"h": [128] * 3}
    assert subnet_of(ModelDict(**alike), space(one_hidden=True))["hidden"] == 128


def test_so_many_layers_are_not_kept():
    lists = {key: each[:2] for key, each in ARCHITECTURE.items() if key != "l"}
    with pytest.raises(InputError, match="blocks") as refused:
        subnet_of(ModelDict(l=2, **lists), HETEROGENEOUS)
    assert refused.value.field == "model_dict/l"


def test_a_space_without_operations_has_no_such_subnet():
    attention = {
        "o": ["sa"] * 4,
        "p": ["sdp"] * 4,
        "h": [384] * 4,
        "n": [12] * 4,
        "f": [[1536]] * 4,
    }
    with pytest.raises(InputError, match="operation") as refused:
        subnet_of(ModelDict(l=4, **attention), spaces.space())
    assert refused.value.field == "model_dict/p/0"


@pytest.mark.parametrize("changed", [{"l": 0}, {"h": ["256"] * 3}, {"f": [[]] * 3}, {"x": 1}])
def test_what_is_no_architecture_is_refused(changed):
    with pytest.raises(ValidationError):
        ModelDict(**{**ARCHITECTURE, **changed})
