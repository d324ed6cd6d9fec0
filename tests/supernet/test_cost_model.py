"""The analytic cost, held against torch's own counter and against real parameter counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils.flop_counter import FlopCounterMode

from elasticnas.search.cost import cost_report
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.export.transformers_folder import subnet_state
from elasticnas.supernet.forward.activation import activate
from tests.supernet.test_activation import EVERYWHERE, FAMILY_NAMES, random_subnets
from tests.supernet.tiny import write_checkpoint


@pytest.mark.parametrize("model_type", FAMILY_NAMES)
def test_torch_flops_equal_what_torchs_counter_counts(tmp_path: Path, model_type):
    supernet = read_supernet(write_checkpoint(tmp_path, model_type, depth=True))
    supernet.model.set_attn_implementation("eager")  # the counter sees both attention products
    supernet.model.train()  # an evaluation spares itself what the head does not see
    inputs = {
        "input_ids": torch.randint(5, 20, (1, 17)),
        "attention_mask": torch.ones(1, 17, dtype=torch.long),
    }
    model = cost_model(supernet)
    for subnet in random_subnets(supernet, 6):
        active = activate(supernet, subnet)
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            active.logits(inputs)
        assert cost_report(model, subnet, 17).torch_flops == counter.get_total_flops()


@pytest.mark.parametrize("model_type", FAMILY_NAMES)
def test_params_equal_those_of_the_exported_subnet(tmp_path: Path, model_type):
    supernet = read_supernet(write_checkpoint(tmp_path, model_type, adapted=EVERYWHERE, depth=True))
    model = cost_model(supernet)
    for subnet in random_subnets(supernet, 6):
        state = subnet_state(supernet, subnet)
        assert cost_report(model, subnet, 8).params == sum(t.numel() for t in state.values())


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
