"""The analytic cost, held against torch's own counter and against real parameter counts."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from elasticnas.search.cost import cost_report
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.export.transformers_folder import subnet_state
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


def test_the_cost_model_survives_its_journey_as_json(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path, depth=True))
    model = cost_model(supernet)
    back = type(model).model_validate(json.loads(model.model_dump_json()))
    assert back == model
