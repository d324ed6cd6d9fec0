"""The analytic cost, held against torch's own counter and against real parameter counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from elasticnas.api_schemas.costs import Cost
from elasticnas.search.cost import cost_report
from elasticnas.search.layer_costs import LayeredCosts
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.contracts.checkpoints import some_subnets
from elasticnas.supernet.contracts.checkpoints import write_checkpoint as write_decoder
from elasticnas.supernet.cost_model import cost_model, zeros_in_prefixes
from elasticnas.supernet.export.transformers_folder import subnet_state
from elasticnas.supernet.families.llama import LLAMA
from elasticnas.supernet.supernet import Supernet
from tests.supernet.test_activation import random_subnets
from tests.supernet.tiny import write_checkpoint


def test_trainable_params_are_the_active_adapters_and_the_trained_head(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path))
    report = cost_report(cost_model(supernet), supernet.space.maximal, 8)
    adapters = sum(a.a.numel() + a.b.numel() for a in supernet.adapters.values())
    assert report.trainable_params == adapters + 2 * 24 + 2


def test_nonzero_params_count_the_zeros_of_a_sparse_base(tmp_path: Path):
    folder = write_checkpoint(tmp_path, adapted=())
    file = folder / "base" / "model.safetensors"
    tensors = load_file(file)
    torch.manual_seed(0)
    for name, tensor in tensors.items():
        if name.endswith("dense.weight"):
            tensors[name] = tensor * (torch.rand_like(tensor) > 0.5)
    save_file(tensors, file, metadata={"format": "pt"})
    supernet = read_supernet(folder)
    model = cost_model(supernet)
    for subnet in random_subnets(supernet, 4):
        state = subnet_state(supernet, subnet)
        zeros = sum(int((t == 0).sum()) for n, t in state.items() if n.endswith("dense.weight"))
        report = cost_report(model, subnet, 8)
        assert report.params - report.nonzero_params == zeros
        assert zeros > 500


def test_zeros_of_prefixes_are_counted_without_a_copy():
    torch.manual_seed(0)
    matrix = torch.randn(30, 17).mul_(torch.rand(30, 17) > 0.4)
    rows, columns = (30, 7, 21), (17, 17, 4)
    found = zeros_in_prefixes(matrix, rows, columns)
    assert found == tuple(int((matrix[:r, :c] == 0).sum()) for r in rows for c in columns)


def decoder(folder: Path, **options: object) -> Supernet:
    """A small LLaMA of grouped heads, adapters on all its linear layers, stored in bfloat16."""
    small = write_decoder(folder, LLAMA, **options)
    file = small / "base" / "model.safetensors"
    save_file({name: t.bfloat16() for name, t in load_file(file).items()}, file)
    return read_supernet(small)


@pytest.mark.parametrize("tied", [False, True])
def test_bytes_of_weights_are_those_of_the_file_and_a_tied_weight_is_there_once(
    tmp_path: Path, tied
):
    supernet = decoder(tmp_path, tie_word_embeddings=tied)
    model = cost_model(supernet)
    for subnet in some_subnets(supernet.space):
        report = cost_report(model, subnet, 8)
        held = subnet_state(supernet, subnet)
        assert report.params == sum(tensor.numel() for tensor in held.values())
        assert report.weight_bytes == sum(
            tensor.numel() * supernet.stored_dtype(name).itemsize for name, tensor in held.items()
        )


def test_a_classifier_keeps_nothing_to_go_on_with(tmp_path: Path):
    model = cost_model(read_supernet(write_checkpoint(tmp_path)))
    assert {Cost.KV_BYTES, Cost.GFLOPS_PER_TOKEN}.isdisjoint(model.costs)
    assert Cost.WEIGHT_BYTES in model.costs


def test_the_cost_model_survives_its_journey_as_json(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path, depth=True))
    model = cost_model(supernet)
    back = type(model).model_validate(json.loads(model.model_dump_json()))
    assert back == model


def test_every_term_is_of_a_layer_or_of_none(tmp_path: Path):
    """So that what a layer costs is known, its norms and biases too."""
    supernet = read_supernet(write_checkpoint(tmp_path / "tiny"))
    layered = LayeredCosts(supernet.space, cost_model(supernet), supernet.plan.presences)
    layers = layered.of(supernet.space.maximal, 16)
    assert [each.layer for each in layers] == list(range(supernet.num_layers))
    own = [
        sum(
            parameter.numel()
            for name, parameter in supernet.model.named_parameters()
            if supernet.family.layer_of(name) == layer
        )
        for layer in range(supernet.num_layers)
    ]
    assert [each.cost["params"] for each in layers] == own
