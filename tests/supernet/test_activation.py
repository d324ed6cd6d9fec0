"""Slicing, against the full model with the same channels masked: an independent second way."""

from __future__ import annotations

import copy
import random
from pathlib import Path

import pytest
import torch

from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.forward.activation import activate, active_blocks
from elasticnas.supernet.supernet import Supernet
from tests.supernet.tiny import sentences, write_checkpoint

FAMILY_NAMES = ["bert", "roberta", "distilbert"]
BERT_FIRST = ["bert", *(pytest.param(name, marks=pytest.mark.slow) for name in FAMILY_NAMES[1:])]
"""For grids in which the other two say little that the contract of families does not."""
EVERYWHERE = ("query", "key", "value", "attention_output", "ffn_in", "ffn_out")


def masked_logits(
    supernet: Supernet, subnet: SubnetConfig, inputs: dict[str, torch.Tensor]
) -> torch.Tensor:
    """The full model with adapters merged at the active rank, and zeros in the columns that read
    from heads and neurons the subnet does not have."""
    family = supernet.family
    model = copy.deepcopy(supernet.model)
    with torch.no_grad():
        for layer in range(supernet.num_layers):
            rank = subnet.get(f"layer.{layer}.lora.rank", 0)
            for role in EVERYWHERE:
                module = family.module(layer, role)
                if (adapter := supernet.adapters.get(module)) is not None:
                    delta = adapter.b[:, :rank] @ adapter.a[:rank]
                    model.get_parameter(f"{module}.weight").add_(adapter.scaling * delta)
            head_size = family.head_size(supernet.config)
            heads = subnet[f"layer.{layer}.attention.heads"] * head_size
            attention_output = family.module(layer, "attention_output")
            model.get_parameter(f"{attention_output}.weight")[:, heads:] = 0
            width = subnet[f"layer.{layer}.ffn.width"]
            ffn_out = family.module(layer, "ffn_out")
            model.get_parameter(f"{ffn_out}.weight")[:, width:] = 0
        parent, _, last = family.layers.rpartition(".")
        layers = getattr(model.get_submodule(parent), last)
        kept = active_blocks(supernet, subnet)
        for dropped in range(len(layers) - 1, -1, -1):
            if dropped not in kept:
                del layers[dropped]
        return model(**inputs).logits


def random_subnets(supernet: Supernet, count: int) -> list[SubnetConfig]:
    rng, space = random.Random(0), supernet.space
    drawn = [
        space.decode([rng.randrange(cardinality) for cardinality in space.cardinalities])
        for _ in range(count)
    ]
    return [space.maximal, space.minimal, space.heuristic, *drawn]


def tokenized(supernet: Supernet) -> dict[str, torch.Tensor]:
    encoded = dict(load_tokenizer(supernet)(sentences(6), padding=True, return_tensors="pt"))
    if supernet.family.model_type != "bert":
        encoded.pop("token_type_ids", None)
    return encoded


@pytest.mark.parametrize("model_type", FAMILY_NAMES)
@pytest.mark.parametrize("adapted", [("query", "value"), EVERYWHERE, ()], ids=len)
def test_a_sliced_subnet_gives_the_logits_of_the_masked_full_model(
    tmp_path: Path, model_type, adapted
):
    supernet = read_supernet(write_checkpoint(tmp_path, model_type, adapted=adapted, depth=True))
    inputs = tokenized(supernet)
    with torch.inference_mode():
        outputs = [activate(supernet, s).logits(inputs) for s in random_subnets(supernet, 8)]
    for subnet, logits in zip(random_subnets(supernet, 8), outputs, strict=True):
        expected = masked_logits(supernet, subnet, inputs)
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(outputs[0], outputs[1], atol=1e-2)


def test_activating_a_subnet_leaves_the_supernet_as_it_was(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path, depth=True))
    inputs = tokenized(supernet)
    before = {name: tensor.clone() for name, tensor in supernet.tensors.items()}
    with torch.inference_mode():
        first = activate(supernet, supernet.space.maximal).logits(inputs)
        activate(supernet, supernet.space.minimal).logits(inputs)
        again = activate(supernet, supernet.space.maximal).logits(inputs)
    assert torch.equal(first, again)
    for name, tensor in supernet.tensors.items():
        assert torch.equal(tensor, before[name])


def test_a_cut_weight_without_an_adapter_is_a_view(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path))
    active = activate(supernet, supernet.space.minimal).tensors
    name = f"{supernet.family.module(0, 'ffn_in')}.weight"
    assert active[name].shape == (7, 24)
    assert active[name].data_ptr() == supernet.tensors[name].data_ptr()


def test_a_smaller_subnet_multiplies_by_smaller_matrices(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path))
    for name, tensor in activate(supernet, supernet.space.minimal).tensors.items():
        assert tensor.numel() <= supernet.tensors[name].numel()
        if "query" in name:
            assert tensor.shape[0] == 6


def test_the_scaling_stays_that_of_the_maximal_rank(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path))
    module = supernet.family.module(0, "query")
    subnet = supernet.space.subnet({"layer.0.lora.rank": 1})
    adapter = supernet.adapters[module]
    delta = (
        activate(supernet, subnet).tensors[f"{module}.weight"]
        - supernet.tensors[f"{module}.weight"]
    )
    torch.testing.assert_close(delta, 2.0 * adapter.b[:, :1] @ adapter.a[:1])
