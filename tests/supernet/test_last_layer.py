from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.func import functional_call

from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.forward.activation import activate, active_blocks
from tests.supernet.test_activation import FAMILY_NAMES
from tests.supernet.test_evaluation import examples
from tests.supernet.tiny import write_checkpoint


@pytest.mark.parametrize("padded", [True, False], ids=["padded", "unmasked"])
@pytest.mark.parametrize("depth", [True, False], ids=["elastic depth", "full depth"])
@pytest.mark.parametrize("model_type", FAMILY_NAMES)
def test_the_first_token_is_what_the_whole_layer_makes_of_it(
    tmp_path: Path, model_type, depth, padded
):
    supernet = read_supernet(write_checkpoint(tmp_path, model_type, depth=depth))
    rows = examples(supernet)
    batch = rows.batch(range(60)) if padded else rows.batches(10_000, batch_cost=0)[0]
    assert ("attention_mask" in batch.inputs) is padded
    for subnet in (supernet.space.heuristic, supernet.space.minimal):
        active = activate(supernet, subnet)
        whole = active.model.base_model
        layers = whole.get_submodule(supernet.family.layers.partition(".")[2])
        last = active_blocks(supernet, subnet)[-1]
        original = supernet.model.get_submodule(f"{supernet.family.layers}.{last}")
        with torch.inference_mode():
            cut = active.logits(batch.inputs)
            layers[last] = original
            full = functional_call(active.model, active.tensors, (), batch.inputs).logits
        torch.testing.assert_close(cut, full, rtol=1e-4, atol=1e-5)


def test_the_last_layer_returns_one_token(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path))
    batch = examples(supernet).batch(range(60))
    active = activate(supernet, supernet.space.maximal)
    with torch.inference_mode():
        hidden = active.model.base_model(**batch.inputs).last_hidden_state
    assert hidden.shape[:2] == (60, 1)


def test_training_sees_the_layer_as_it_is(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path))
    supernet.model.train(True)
    assert activate(supernet, supernet.space.maximal).model is supernet.model
