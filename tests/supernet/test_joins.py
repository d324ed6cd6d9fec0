"""How adapters join their weights: merged, merged where the base is not zero, or beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.profiler import ProfilerActivity, profile

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import RANK
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.contracts.checkpoints import write_checkpoint as write_any
from elasticnas.supernet.contracts.families import logits, padded
from elasticnas.supernet.export.transformers_folder import subnet_state
from elasticnas.supernet.families.llama import LLAMA
from elasticnas.supernet.forward.activation import activate, active_tensors
from elasticnas.supernet.forward.joining import (
    even_tokens,
    joined_for,
    merged_bytes,
    weight_bytes,
)
from elasticnas.supernet.forward.prefixes import PrefixCache
from elasticnas.supernet.plan import Join
from elasticnas.supernet.supernet import Supernet
from tests.supernet.test_activation import EVERYWHERE, FAMILY_NAMES, random_subnets
from tests.supernet.test_export import export
from tests.supernet.tiny import WORDS, write_checkpoint

BATCH = padded(5 + len(WORDS))


def sparse(folder: Path, model_type: str = "bert") -> Supernet:
    """A super-network with adapters everywhere on a base of which half is zero."""
    write_checkpoint(folder, model_type, adapted=EVERYWHERE, depth=True)
    file = folder / "base" / "model.safetensors"
    torch.manual_seed(0)
    tensors = {
        name: tensor * (torch.rand_like(tensor) > 0.5) if ".layer." in name else tensor
        for name, tensor in load_file(file).items()
    }
    save_file(tensors, file, metadata={"format": "pt"})
    return read_supernet(folder)


def joined(supernet: Supernet, join: Join) -> Supernet:
    adapters = {m: replace(adapter, join=join) for m, adapter in supernet.adapters.items()}
    return replace(supernet, adapters=adapters)


def test_a_masked_merge_changes_what_is_not_zero_and_nothing_else(tmp_path: Path):
    plain = sparse(tmp_path)
    masked = joined(plain, Join.MASKED)
    for subnet in random_subnets(plain, 4):
        merged = active_tensors(plain, subnet)
        for name, tensor in active_tensors(masked, subnet).items():
            base = plain.plan.slice(name, plain.tensors[name], subnet)
            expected = torch.where(base == 0, base, merged[name]) if "weight" in name else base
            torch.testing.assert_close(tensor, expected)
            assert torch.equal(tensor == 0, base == 0)


def test_a_masked_adapter_is_not_exported_for_peft_which_would_not_mask_it(tmp_path: Path):
    masked = joined(sparse(tmp_path / "c"), Join.MASKED)
    with pytest.raises(InputError, match="zeros of the sparse base"):
        export(masked, masked.space.maximal, "peft", tmp_path)
    with pytest.raises(InputError, match="zeros of the sparse base"):
        export(joined(masked, Join.MASKED_IN_TURN), masked.space.maximal, "peft", tmp_path)


@pytest.mark.parametrize("model_type", FAMILY_NAMES)
def test_an_unmerged_subnet_gives_the_logits_of_the_merged_one(tmp_path: Path, model_type):
    plain = sparse(tmp_path, model_type)
    unmerged = joined(plain, Join.UNMERGED)
    for subnet in random_subnets(plain, 4):
        found, expected = (logits(each, subnet, BATCH) for each in (unmerged, plain))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_an_unmerged_subnet_copies_no_weight(tmp_path: Path):
    unmerged = joined(sparse(tmp_path), Join.UNMERGED)
    for name, tensor in activate(unmerged, unmerged.space.minimal).tensors.items():
        assert tensor.data_ptr() == unmerged.tensors[name].data_ptr()


def test_an_unmerged_subnet_of_ranks_alone_allocates_nothing(tmp_path: Path):
    """In a LLaMA with adapters on every layer of its blocks, and a bfloat16 base."""
    plain = read_supernet(write_any(tmp_path, LLAMA)).to(torch.device("cpu"), torch.bfloat16)
    subnet = plain.space.subnet(
        {d.name: d.choices[-1] for d in plain.space.dimensions if d.part == RANK}
    )
    allocated = {}
    for join in (Join.PLAIN, Join.UNMERGED):
        supernet = joined(plain, join)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            active = activate(supernet, subnet)
        allocated[join] = sum(max(event.cpu_memory_usage, 0) for event in profiled.events())
    assert allocated[Join.PLAIN] > 0
    assert allocated[Join.UNMERGED] == 0
    for name, parameter in plain.model.named_parameters():
        assert active.model.get_parameter(name) is parameter
        assert active.tensors.get(name, parameter).data_ptr() == parameter.data_ptr()


def test_adapters_are_merged_where_that_is_faster_and_there_is_room(tmp_path: Path):
    """24 x 24 and 40 x 24 weights, adapters of rank 4: both ways are even at 13.7 tokens."""
    plain = sparse(tmp_path)
    assert even_tokens(plain) == pytest.approx((4 * 24 * 24 + 2 * 24 * 40) / (4 * 48 + 2 * 64))
    narrow = read_supernet(plain.folder).to(torch.device("cpu"), torch.bfloat16)
    assert even_tokens(narrow) == pytest.approx(4 * even_tokens(plain))
    room = weight_bytes(plain, torch.float32) + merged_bytes(plain, torch.float32)
    assert merged_bytes(plain, torch.float32) == 4 * 3 * (4 * 24 * 24 + 2 * 24 * 40)
    assert joined_for(plain, tokens=14, limit_bytes=room) is plain
    for tokens, limit in ((13, room), (14, room - 1)):
        beside = joined_for(plain, tokens=tokens, limit_bytes=limit)
        assert set(beside.unmerged) == set(plain.adapters)
    masked = joined(plain, Join.MASKED)
    assert not joined_for(masked, tokens=1, limit_bytes=room).unmerged
    in_turn = joined_for(masked, tokens=1000, limit_bytes=room - 1)
    assert {each.join for each in in_turn.adapters.values()} == {Join.MASKED_IN_TURN}


@pytest.mark.parametrize("model_type", FAMILY_NAMES)
def test_masked_adapters_that_are_merged_in_turn_give_the_merged_ones_bits(tmp_path, model_type):
    masked = joined(sparse(tmp_path, model_type), Join.MASKED)
    in_turn = joined(masked, Join.MASKED_IN_TURN)
    for subnet in random_subnets(masked, 4):
        assert torch.equal(logits(in_turn, subnet, BATCH), logits(masked, subnet, BATCH))
        for name, tensor in activate(in_turn, subnet).tensors.items():
            assert tensor.data_ptr() == in_turn.tensors[name].data_ptr()


def test_what_moves_to_another_dtype_takes_what_was_said(tmp_path: Path):
    plain = read_supernet(write_any(tmp_path, LLAMA, tie_word_embeddings=True))
    said = weight_bytes(plain, torch.bfloat16)
    moved = plain.to(torch.device("cpu"), torch.bfloat16)
    adapters = [t for a in moved.adapters.values() for t in (a.a, a.b)]
    assert said == sum(t.nbytes for t in (*moved.model.parameters(), *adapters))


def test_unmerged_subnets_share_first_layers_to_the_bit(tmp_path: Path):
    unmerged = joined(sparse(tmp_path), Join.UNMERGED)
    batches = [BATCH]
    prefixes = PrefixCache(2**30).of(unmerged, batches)
    spared = 0
    for subnet in random_subnets(unmerged, 4) * 2:
        with torch.inference_mode(), prefixes.shared(subnet) as splice:
            spared += splice.first
            shared = activate(unmerged, subnet, splice).logits(batches[0].inputs)
        assert torch.equal(shared, logits(unmerged, subnet, batches[0]))
    assert spared > 0


def test_gradients_flow_to_an_adapter_however_it_joins(tmp_path: Path):
    plain, found = sparse(tmp_path), {}
    subnet = plain.space.heuristic
    for join in (Join.PLAIN, Join.UNMERGED):
        supernet = joined(plain, join)
        adapters = [t.requires_grad_(True) for a in supernet.adapters.values() for t in (a.a, a.b)]
        loss = activate(supernet, subnet).logits(BATCH.inputs).square().mean()
        found[join] = torch.autograd.grad(loss, adapters, allow_unused=True)
    assert any(gradient is not None for gradient in found[Join.PLAIN])
    for one, other in zip(found[Join.PLAIN], found[Join.UNMERGED], strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-4)


def test_an_unmerged_subnet_is_exported_merged(tmp_path: Path):
    plain = sparse(tmp_path)
    states = [
        subnet_state(each, plain.space.heuristic) for each in (plain, joined(plain, Join.UNMERGED))
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
