"""Subnets that share first layers, against the same subnets run from end to end."""

from __future__ import annotations

import gc
import json
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.forward.prefixes import MOST, PrefixCache, Prefixes, dimensions_of_blocks
from elasticnas.supernet.measuring.examples import Batch
from elasticnas.supernet.measuring.measure import EvaluationUnwantedError, predict
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import TEXT_CLASSIFICATION
from tests.supernet.measured import evaluate
from tests.supernet.test_activation import BERT_FIRST, EVERYWHERE, FAMILY_NAMES, random_subnets
from tests.supernet.test_evaluation import examples
from tests.supernet.tiny import write_checkpoint

PLENTY = 2**30


def shared_logits(
    supernet: Supernet, subnet: SubnetConfig, batches: list[Batch], prefixes: Prefixes
) -> torch.Tensor:
    with torch.inference_mode(), prefixes.shared(subnet) as splice:
        return predict(activate(supernet, subnet, splice), batches, rows=60)


def plain_logits(supernet: Supernet, subnet: SubnetConfig, batches: list[Batch]) -> torch.Tensor:
    with torch.inference_mode():
        return predict(activate(supernet, subnet), batches, rows=60)


@contextmanager
def counted(supernet: Supernet):
    """How often each layer, and the embeddings under -1, were called meanwhile."""
    calls: dict[int, int] = {}

    def count(place):
        def hook(*_):
            calls[place] = calls.get(place, 0) + 1

        return hook

    family = supernet.family
    layers = supernet.model.get_submodule(family.layers)
    watched = [(-1, supernet.model.get_submodule(family.embeddings)), *enumerate(layers)]
    handles = [module.register_forward_hook(count(place)) for place, module in watched]
    yield calls
    for handle in handles:
        handle.remove()


def starts(prefixes: Prefixes, *subnets: SubnetConfig) -> list[int]:
    """How many layers each subnet is spared, one after the other; nothing is computed."""
    found = []
    for subnet in subnets:
        with prefixes.shared(subnet) as splice:
            found.append(splice.first)
    return found


def opened(folder: Path, **options) -> tuple[Supernet, list[Batch]]:
    supernet = read_supernet(write_checkpoint(folder, **options))
    return supernet, examples(supernet).batches(200)


@pytest.mark.parametrize("model_type", BERT_FIRST)
@pytest.mark.parametrize("depth", [False, True], ids=["fixed", "elastic"])
@pytest.mark.parametrize("adapted", [EVERYWHERE, ()], ids=["merged", "unadapted"])
@pytest.mark.parametrize("room", [1, 3, 1000])
def test_what_is_shared_gives_the_very_bits(tmp_path: Path, model_type, depth, adapted, room):
    supernet, batches = opened(tmp_path, model_type=model_type, depth=depth, adapted=adapted)
    cache = PrefixCache(PLENTY)
    prefixes = cache.of(supernet, batches)
    cache.limit(room * prefixes.bytes_each)
    base = random_subnets(supernet, 6)
    subnets = [
        supernet.space.subnet({**subnet, **change})
        for subnet in base
        for change in (
            {},
            {"layer.2.ffn.width": 7},
            {"layer.1.attention.heads": 1},
            {"depth": 2} if depth else {"layer.2.attention.heads": 3},
            {"depth": 1} if depth else {"layer.1.ffn.width": 24},
        )
    ]
    with counted(supernet) as calls:
        shared = [shared_logits(supernet, subnet, batches, prefixes) for subnet in subnets]
    plain = [plain_logits(supernet, subnet, batches) for subnet in subnets]
    assert all(torch.equal(one, other) for one, other in zip(shared, plain, strict=True))
    assert calls[0] < len(subnets) * len(batches)


@pytest.mark.parametrize("model_type", FAMILY_NAMES)
def test_only_the_layers_behind_the_deepest_shared_one_run(tmp_path: Path, model_type):
    supernet, batches = opened(tmp_path, model_type=model_type)
    prefixes = PrefixCache(PLENTY).of(supernet, batches)
    space = supernet.space
    shared_logits(supernet, space.maximal, batches, prefixes)
    with counted(supernet) as calls:
        shared_logits(supernet, space.subnet({"layer.2.lora.rank": 1}), batches, prefixes)
    assert calls == {2: len(batches)}
    with counted(supernet) as calls:
        shared_logits(supernet, space.subnet({"layer.1.ffn.width": 7}), batches, prefixes)
    assert calls == {1: len(batches), 2: len(batches)}
    with counted(supernet) as calls:
        shared_logits(supernet, space.subnet({"layer.0.attention.heads": 1}), batches, prefixes)
    assert calls == dict.fromkeys((-1, 0, 1, 2), len(batches))


def test_a_shallower_subnet_starts_from_a_deeper_ones_layers_and_the_other_way(tmp_path: Path):
    supernet, batches = opened(tmp_path, depth=True)
    prefixes = PrefixCache(PLENTY).of(supernet, batches)
    of_depth = [supernet.space.subnet({"depth": depth}) for depth in (1, 3, 2)]
    assert starts(prefixes, *of_depth) == [0, 0, 1]  # each one's last layer is its own


def test_only_the_last_layer_runs_again_for_subnets_that_differ_in_a_dropped_one(tmp_path: Path):
    supernet, batches = opened(tmp_path, depth=True)
    prefixes = PrefixCache(PLENTY).of(supernet, batches)
    shallow = supernet.space.subnet({"depth": 2})
    other = supernet.space.subnet({"depth": 2, "layer.2.ffn.width": 7})
    first = shared_logits(supernet, shallow, batches, prefixes)
    with counted(supernet) as calls:
        again = shared_logits(supernet, other, batches, prefixes)
    assert calls == {1: len(batches)}
    assert torch.equal(first, again)


def test_a_layer_depends_on_the_dimensions_that_cut_it(tmp_path: Path):
    supernet, _ = opened(tmp_path, depth=True)
    for layer, found in enumerate(dimensions_of_blocks(supernet)):
        names = {f"layer.{layer}.{part}" for part in ("attention.heads", "ffn.width", "lora.rank")}
        assert set(found) == names


@pytest.mark.parametrize("model_type", FAMILY_NAMES)
def test_searches_and_workers_agree_on_the_first_layer_of_each_dimension(
    tmp_path: Path, model_type
):
    """Or else layer crossover would breed what prefixes do not save."""
    supernet, _ = opened(tmp_path, model_type=model_type, depth=True, adapted=EVERYWHERE)
    layers = {d.name: d.layer for d in supernet.space.dimensions}
    assert [name for name, layer in layers.items() if layer is None] == ["depth"]
    for place, found in enumerate(dimensions_of_blocks(supernet)):
        assert set(found) == {name for name, layer in layers.items() if layer == place}


def nncf_with_tied_ranks(folder: Path) -> Path:
    """An NNCF config of two dimensions: one rank of layers 1 and 2, and the FFN of layer 0."""
    folder = write_checkpoint(folder)
    (folder / "search_space.json").unlink()
    model = "Peft/LoraModel[base_model]/BertForSequenceClassification[model]/BertModel[bert]"
    layer = f"{model}/BertEncoder[encoder]/ModuleList[layer]/BertLayer"
    lora = "ModuleDict[lora_A]/NNCFLinear[default]/linear_0"
    ranks = [
        f"{layer}[{index}]/BertAttention[attention]/BertSelfAttention[self]/Linear[{role}]/{lora}"
        for index in (1, 2)
        for role in ("query", "value")
    ]
    width = {
        "overwrite_groups": [
            ranks,
            [f"{layer}[0]/BertIntermediate[intermediate]/NNCFLinear[dense]/linear_0"],
        ],
        "overwrite_groups_widths": [[4, 2, 1], [40, 7]],
    }
    elasticity = {"available_elasticity_dims": ["width"], "width": width}
    config = {
        "input_info": [{"sample_size": [1, 16]}],
        "bootstrapNAS": {"training": {"elasticity": elasticity}},
    }
    (folder / "nncf_config.json").write_text(json.dumps(config))
    return folder


def test_a_dimension_tied_across_layers_parts_subnets_at_the_first_of_them(tmp_path: Path):
    supernet = read_supernet(nncf_with_tied_ranks(tmp_path))
    batches = examples(supernet).batches(200)
    rank, width = (dimension.name for dimension in supernet.space.dimensions)
    assert dimensions_of_blocks(supernet) == ((width,), (rank,), (rank,))
    prefixes = PrefixCache(PLENTY).of(supernet, batches)
    subnet = supernet.space.subnet({rank: 1})
    assert starts(prefixes, supernet.space.maximal, subnet, subnet) == [0, 1, 2]


def test_what_is_kept_stays_within_the_bound_while_an_evaluation_runs_and_after(tmp_path: Path):
    supernet, batches = opened(tmp_path)
    cache = PrefixCache(PLENTY)
    prefixes = cache.of(supernet, batches)
    cache.limit(3 * prefixes.bytes_each + 1)
    for subnet in random_subnets(supernet, 12):
        with torch.inference_mode(), prefixes.shared(subnet) as splice:
            assert cache.held_bytes <= cache.limit_bytes
            predict(activate(supernet, subnet, splice), batches, rows=60)
        kept = [prefix.states for prefix in prefixes.kept()]
        assert 0 < len(kept) <= 3
        held = sum(states.nbytes for found in kept for states in found or ())
        assert held == cache.held_bytes == len(kept) * prefixes.bytes_each


def test_a_prefix_larger_than_the_bound_is_not_computed_with(tmp_path: Path):
    supernet, batches = opened(tmp_path)
    cache = PrefixCache(PLENTY)
    prefixes = cache.of(supernet, batches)
    for bound in (0, prefixes.bytes_each - 1):
        cache.limit(bound)
        subnet = supernet.space.maximal
        with prefixes.shared(subnet) as splice:
            assert not splice.taps
            assert cache.held_bytes == 0
        assert starts(prefixes, subnet) == [0]


def test_lowering_the_bound_drops_at_once(tmp_path: Path):
    supernet, batches = opened(tmp_path)
    cache = PrefixCache(PLENTY)
    prefixes = cache.of(supernet, batches)
    starts(prefixes, *random_subnets(supernet, 6))
    cache.limit(2 * prefixes.bytes_each)
    assert len(list(prefixes.kept())) == 2
    cache.clear()
    assert cache.held_bytes == 0
    assert starts(prefixes, supernet.space.maximal) == [0]


def test_no_more_prefixes_are_kept_than_can_be_chosen_among_quickly(tmp_path: Path):
    supernet, batches = opened(tmp_path)
    cache = PrefixCache(PLENTY)
    prefixes = cache.of(supernet, batches)
    starts(prefixes, *set(random_subnets(supernet, 400)))
    assert len(list(prefixes.kept())) == MOST


def test_what_many_start_from_outlives_what_one_passed_by(tmp_path: Path):
    """The least recently used would be layer 0's here: the common one."""
    supernet, batches = opened(tmp_path)
    space = supernet.space
    cache = PrefixCache(PLENTY)
    prefixes = cache.of(supernet, batches)
    cache.limit(2 * prefixes.bytes_each)
    family = [
        space.subnet({"layer.1.ffn.width": width, "layer.1.attention.heads": heads})
        for width in (40, 24, 7)
        for heads in (4, 3, 1)
    ]
    passer_by = space.subnet({"layer.0.ffn.width": 7})
    found = starts(prefixes, *family[:4], passer_by, *family[4:])
    assert found == [0, 1, 1, 1, 0, 1, 1, 1, 1, 1]


def test_uses_of_long_ago_are_forgotten_and_those_of_kept_prefixes_not(tmp_path: Path):
    supernet, batches = opened(tmp_path)
    cache = PrefixCache(PLENTY)
    prefixes = cache.of(supernet, batches)
    cache.limit(prefixes.bytes_each)
    other = cache.of(supernet, batches)
    for subnet in [supernet.space.maximal] * 40 + random_subnets(supernet, 1000):
        starts(prefixes, subnet)
        starts(other, subnet)
    assert len(prefixes._known) < 400
    assert len(other._known) < 400
    assert all(
        ancestor in prefixes._known.values()
        for prefix in prefixes.kept()
        for ancestor in prefix.ancestors
    )


@pytest.mark.parametrize("error", [EvaluationUnwantedError, torch.OutOfMemoryError])
def test_an_evaluation_that_breaks_off_leaves_what_was_kept_before(tmp_path: Path, error):
    supernet, batches = opened(tmp_path)
    rows = examples(supernet)
    cache = PrefixCache(PLENTY)
    prefixes = cache.of(supernet, batches)
    space = supernet.space
    shared_logits(supernet, space.maximal, batches, prefixes)
    before = cache.held_bytes
    asked = 0

    def is_unwanted():
        nonlocal asked
        asked += 1
        if asked == 3:
            raise error
        return False

    other = space.subnet({"layer.1.ffn.width": 7})
    with pytest.raises(error):
        evaluate(supernet, other, batches, rows.labels, TEXT_CLASSIFICATION, is_unwanted, prefixes)
    assert cache.held_bytes == before
    assert starts(prefixes, space.subnet({"layer.2.ffn.width": 7})) == [2]
    expected = plain_logits(supernet, other, batches)
    assert torch.equal(shared_logits(supernet, other, batches, prefixes), expected)


def test_prefixes_are_of_one_supernet_and_one_list_of_batches(tmp_path: Path):
    supernet, batches = opened(tmp_path / "a")
    twin, _ = opened(tmp_path / "b", seed=1)
    rows = examples(supernet)
    prefixes = PrefixCache(PLENTY).of(supernet, batches)
    for wrong in ((twin, batches), (supernet, rows.batches(100))):
        with pytest.raises(ValueError, match="another"):
            evaluate(
                wrong[0],
                wrong[0].space.maximal,
                wrong[1],
                rows.labels,
                TEXT_CLASSIFICATION,
                prefixes=prefixes,
            )


def test_two_supernets_share_a_bound_and_nothing_else(tmp_path: Path):
    cache = PrefixCache(PLENTY)
    opened_twice = [opened(tmp_path / str(seed), seed=seed) for seed in range(2)]
    both = [(supernet, batches, cache.of(supernet, batches)) for supernet, batches in opened_twice]
    cache.limit(3 * both[0][2].bytes_each)
    for subnet in random_subnets(both[0][0], 6):
        for supernet, batches, prefixes in both:
            found = shared_logits(supernet, subnet, batches, prefixes)
            assert torch.equal(found, plain_logits(supernet, subnet, batches))
            assert cache.held_bytes <= cache.limit_bytes
    assert all(prefixes.held_bytes > 0 for _, _, prefixes in both)


def test_what_nobody_refers_to_takes_no_memory(tmp_path: Path):
    supernet, batches = opened(tmp_path)
    cache = PrefixCache(PLENTY)
    prefixes = cache.of(supernet, batches)
    gc.disable()
    try:
        shared_logits(supernet, supernet.space.maximal, batches, prefixes)
        assert cache.held_bytes > 0
        del prefixes
        assert cache.held_bytes == 0
    finally:
        gc.enable()


def test_in_order_of_place_subnets_share_more_in_little_room(tmp_path: Path):
    supernet, batches = opened(tmp_path)
    cache = PrefixCache(PLENTY)
    space = supernet.space
    subnets = [
        space.subnet({"layer.0.ffn.width": a, "layer.1.ffn.width": b, "layer.2.lora.rank": c})
        for c in (4, 2, 1)
        for b in (40, 7)
        for a in (40, 7)
    ]
    cache.limit(2 * cache.of(supernet, batches).bytes_each)
    as_they_come, ordered = (cache.of(supernet, batches) for _ in range(2))
    spared = sum(starts(as_they_come, *subnets))
    as_they_come.drop()
    assert sum(starts(ordered, *sorted(subnets, key=ordered.place))) > spared


def test_a_subnets_place_is_told_from_what_a_message_says_of_it(tmp_path: Path):
    supernet, batches = opened(tmp_path)
    prefixes = PrefixCache(PLENTY).of(supernet, batches)
    assert prefixes.place({"layer.1.ffn.width": 7, "nose": 1}) == prefixes.place(
        dict(supernet.space.subnet({"layer.1.ffn.width": 7}))
    )


def without_blocks(folder: Path, *skipped: list[int]) -> tuple[Supernet, list[Batch]]:
    """A super-network of four blocks of which any of these sets can be left out."""
    write_checkpoint(folder, layers=4, adapted=())
    file = folder / "search_space.json"
    widths = [
        {"name": f"neurons {i}", "part": "ffn", "layer": i, "choices": [40, 7]} for i in range(4)
    ]
    blocks = {"name": "left out", "part": "blocks", "ordered": False, "choices": skipped}
    file.write_text(json.dumps({"version": 2, "dimensions": [*widths, blocks]}))
    supernet = read_supernet(folder)
    return supernet, examples(supernet).batches(200)


def test_subnets_share_the_blocks_that_both_run_first(tmp_path: Path):
    supernet, batches = without_blocks(tmp_path, [], [1], [2], [1, 3], [0])
    prefixes = PrefixCache(PLENTY).of(supernet, batches)
    space = supernet.space
    subnets = [space.subnet({"left out": choice}) for choice in space.dimensions[-1].choices]
    assert starts(prefixes, *subnets) == [0, 1, 2, 1, 0]
    narrower = space.subnet({"left out": (1,), "neurons 1": 7})
    assert starts(prefixes, narrower) == [2]  # all but the last: it does not run block 1


def test_subnets_without_any_blocks_give_the_very_bits_from_shared_ones(tmp_path: Path):
    supernet, batches = without_blocks(tmp_path, [], [1], [2], [0, 2], [1, 3], [0, 1, 2])
    prefixes = PrefixCache(PLENTY).of(supernet, batches)
    subnets = sorted(supernet.space.enumerate(), key=prefixes.place)
    with counted(supernet) as calls:
        shared = [shared_logits(supernet, subnet, batches, prefixes) for subnet in subnets]
    plain = [plain_logits(supernet, subnet, batches) for subnet in subnets]
    assert all(torch.equal(one, other) for one, other in zip(shared, plain, strict=True))
    assert calls[0] < len(subnets) * len(batches) / 8


def test_subnets_that_leave_out_the_same_blocks_come_beside_each_other(tmp_path: Path):
    supernet, batches = without_blocks(tmp_path, [], [0], [1])
    space, prefixes = supernet.space, PrefixCache(PLENTY).of(supernet, batches)
    ordered = sorted(space.enumerate(), key=prefixes.place)
    runs_first = [subnet["left out"] == (0,) for subnet in ordered]
    assert sum(one != other for one, other in pairwise(runs_first)) <= 4
