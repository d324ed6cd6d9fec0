"""Costs of causal language models, term by term as the originals' counters have them."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from elasticnas.search.cost import cost_report
from elasticnas.supernet.cost_model import cost_model
from tests.supernet.published import BASES, published, references, subnet_of

TOKENS = 128
NAMED = ("max", "min", "heuristic")

SUBNETS = [
    pytest.param(NAMED, id="named"),
    pytest.param(None, id="all", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("which", SUBNETS)
def test_operations_weights_sparsity_and_adapters_are_the_originals(
    shared_data: Path, tmp_path: Path, name, which
):
    """``flops`` is twice, ``weights`` once per token, what is spent with adapters unmerged.

    Attention's products are not counted there; the head is, on every token. Sparsity is that of the
    active slices of the blocks' linear layers and adapters, as a share of all that the maximal
    subnet has there.
    """
    supernet = published(shared_data, name, tmp_path)
    model = cost_model(supernet)
    largest = cost_report(model, supernet.space.maximal, TOKENS).breakdown
    entries = [e for e in references(shared_data, name) if which is None or e["name"] in which]
    assert len(entries) >= 2
    for entry in entries:
        cost = cost_report(model, subnet_of(supernet, entry), TOKENS)
        spent = cost.breakdown
        if "flops" in entry:
            assert 2 * (spent.linear + spent.adapters + spent.head) == entry["flops"]
            assert (spent.linear + spent.adapters + spent.head) / TOKENS == entry["weights"]
        if "sparsity" in entry:
            others = cost.params - spent.linear // TOKENS
            entries_of_all = (largest.linear + largest.adapters) // TOKENS
            sparsity = 1 - (cost.nonzero_params - others) / entries_of_all
            assert sparsity == pytest.approx(entry["sparsity"], abs=1e-6)
        if "adapter_params" in entry:
            assert cost.trainable_params == entry["adapter_params"]


@pytest.mark.parametrize("name", BASES)
def test_the_largest_subnet_weighs_what_the_file_of_its_base_does(
    shared_data: Path, tmp_path: Path, name
):
    """In the file's float16; and grouped heads keep a third of what as many key heads would."""
    supernet = published(shared_data, name, tmp_path)
    cost = cost_report(cost_model(supernet), supernet.space.maximal, TOKENS)
    file = load_file(shared_data / BASES[name] / "model.safetensors")
    assert cost.weight_bytes == sum(t.nbytes for n, t in file.items() if "inv_freq" not in n)
    assert cost.kv_bytes == 4 * 2 * TOKENS * 2 * 32 * 2
