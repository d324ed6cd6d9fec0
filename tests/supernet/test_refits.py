"""Weights that are refitted by least squares for widths of their own, in a super-network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForSequenceClassification

from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.training import DeriveSettings
from elasticnas.search.cost import whole_costs
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.contracts.families import exported
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.export.lazy_tensors import subnet_tensors
from elasticnas.supernet.extraction import extract
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.methods.local import run_recipe
from elasticnas.supernet.supernet import Supernet
from tests.supernet.test_derive import SMALL, some_rows
from tests.supernet.tiny import tiny_model, write_tokenizer

WIDTH = "layer.1.ffn.width"
READER = "bert.encoder.layer.1.output.dense.weight"
FILE = "refit.safetensors"
SETTINGS = DeriveSettings(
    refit=True, targets=(), shares=(0.5,), **{**SMALL, "calibration_rows": 32}
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A super-network of an encoder whose neurons 20 to 39 repeat the first, but for layer 0."""
    folder = tmp_path_factory.mktemp("refits")
    model = tiny_model("bert")
    with torch.no_grad():
        for layer in (1, 2):
            first = model.get_submodule(f"bert.encoder.layer.{layer}.intermediate.dense")
            first.weight[20:], first.bias[20:] = first.weight[:20], first.bias[:20]
    model.save_pretrained(folder / "base")
    write_tokenizer(folder / "base")
    run_recipe("derive", folder / "base", some_rows(), folder / "made", SETTINGS)
    return folder / "made"


@pytest.fixture(scope="module")
def supernet(folder: Path) -> Supernet:
    return read_supernet(folder)


def tokens() -> dict[str, torch.Tensor]:
    return {"input_ids": torch.randint(5, 24, (4, 9), generator=torch.Generator().manual_seed(1))}


def logits(supernet: Supernet, **chosen: int) -> torch.Tensor:
    with torch.inference_mode():
        return activate(supernet, supernet.space.subnet(chosen)).logits(tokens())


def test_what_a_layer_reads_twice_is_made_good_by_what_is_left(folder: Path, supernet: Supernet):
    """Where a copy of a lost neuron is kept, nothing is lost but what the damping costs."""
    plain = replace(read_supernet(folder), refits={})
    full = logits(supernet)
    lost = [(logits(each, **{WIDTH: 20}) - full).norm() for each in (plain, supernet)]
    assert lost[1] < 0.7 * lost[0]


def test_the_largest_subnet_and_the_other_layers_are_as_they_were(supernet: Supernet):
    assert set(supernet.refits[READER]) == {20}
    cut = activate(supernet, supernet.space.subnet({WIDTH: 20})).tensors
    assert torch.equal(cut[READER], supernet.refits[READER][20])
    other = READER.replace("layer.1", "layer.2")
    assert torch.equal(cut[other], supernet.tensors[other])


def test_the_exported_subnet_has_the_refitted_weights(supernet: Supernet, tmp_path: Path):
    subnet = supernet.space.subnet({WIDTH: 20, "layer.0.attention.heads": 2})
    folder = exported(supernet, subnet, tmp_path / "subnet")
    loaded = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
    with torch.inference_mode():
        found = activate(supernet, subnet).logits(tokens())
        torch.testing.assert_close(loaded(**tokens()).logits, found, rtol=1e-4, atol=1e-5)


def test_an_extracted_subnet_has_them_as_weights_of_its_own_and_learns_them(folder: Path):
    supernet = read_supernet(folder)
    subnet = supernet.space.subnet({WIDTH: 20})
    own = extract(supernet, subnet)
    assert torch.equal(own.tensors[READER], supernet.refits[READER][20])
    with torch.inference_mode():
        before = activate(own.supernet, subnet).logits(tokens())
        torch.testing.assert_close(before, activate(supernet, subnet).logits(tokens()))
    weight = own.tensors[READER].requires_grad_(True)
    activate(own.supernet, subnet).logits(tokens())[:, 0].sum().backward()
    assert weight.grad is not None
    with torch.no_grad():
        weight -= weight.grad
    with torch.inference_mode():
        after = activate(own.supernet, subnet).logits(tokens())
    assert (after - before).abs().max() > 1e-3
    assert torch.equal(subnet_tensors(own.supernet, subnet)[READER].make(), weight)
    assert not torch.equal(supernet.refits[READER][20], weight)


def test_zeros_are_those_of_the_refitted_weights(folder: Path):
    """Where half of a base's weights are zero, the refitted ones are not, and costs say so."""
    supernet = read_supernet(folder)
    with torch.no_grad():
        supernet.tensors[READER][:, ::2] = 0
    subnet = supernet.space.subnet({WIDTH: 20})
    plain, refitted = (
        whole_costs(cost_model(each), subnet, 16)[Cost.NONZERO_PARAMS]
        for each in (replace(supernet, refits={}), supernet)
    )
    assert refitted - plain == 24 * 10


def test_they_move_with_the_super_network(folder: Path):
    moved = read_supernet(folder).to(torch.device("cpu"), torch.bfloat16)
    assert moved.refits[READER][20].dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        (f"{READER}.19", (24, 19)),
        (f"{READER}.20", (24, 10)),
        ("bert.encoder.layer.1.intermediate.dense.weight.24", (20, 24)),
        ("classifier.weight.24", (2, 24)),
        ("nonsense", (2,)),
    ],
)
def test_a_matrix_for_no_width_of_the_space_is_refused(
    folder: Path, tmp_path: Path, name: str, shape: tuple[int, ...]
):
    for entry in folder.iterdir():
        if entry.name != FILE:
            (tmp_path / entry.name).symlink_to(entry)
    save_file({name: torch.zeros(shape)}, tmp_path / FILE)
    with pytest.raises(InputError, match="cuts no weight to such a matrix") as refused:
        read_supernet(tmp_path)
    assert refused.value.field == f"{FILE}/{name}"
