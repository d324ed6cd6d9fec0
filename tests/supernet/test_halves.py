"""Subnets without the attention or the FFN of some layers, as a space file or NNCF says it."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import torch

from elasticnas.api_schemas.problems import InputError
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.families import FAMILIES
from elasticnas.supernet.forward.activation import activate, active_halves
from elasticnas.supernet.measuring.batching import packs
from elasticnas.supernet.supernet import Supernet
from tests.supernet import causal
from tests.supernet.eftnas import EMBEDDED, config, half_end, write_folder
from tests.supernet.test_activation import FAMILY_NAMES
from tests.supernet.test_batching import logits
from tests.supernet.test_evaluation import examples
from tests.supernet.test_reader import tokenized
from tests.supernet.tiny import LAYERS, OUT, with_halves, write_checkpoint


def by_hand(supernet: Supernet, subnet: SubnetConfig) -> torch.Tensor:
    """BERT with all heads, half a layer at a time."""
    model, inputs = supernet.model, tokenized(supernet)
    bert = model.bert
    hidden = bert.embeddings(inputs["input_ids"])
    mask = torch.zeros(hidden.shape[:2]).masked_fill(inputs["attention_mask"] == 0, -torch.inf)
    for layer, halves in active_halves(supernet, subnet).items():
        block = bert.encoder.layer[layer]
        if "attention" in halves:
            hidden = block.attention(hidden, mask[:, None, None])[0]
        if "ffn" in halves:
            hidden = block.output(block.intermediate(hidden), hidden)
    logits: torch.Tensor = model.classifier(bert.pooler(hidden))
    return logits


@pytest.mark.parametrize("choice", OUT[1:])
def test_a_half_that_is_left_out_passes_on_what_it_is_given(tmp_path: Path, choice):
    supernet = read_supernet(with_halves(tmp_path))
    subnet = supernet.space.subnet({"out": tuple(choice)})
    with torch.inference_mode():
        found = activate(supernet, subnet).logits(tokenized(supernet))
        torch.testing.assert_close(found, by_hand(supernet, subnet), rtol=1e-4, atol=1e-5)


def test_a_family_whose_layers_run_whole_refuses_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(FAMILIES._values, "llama", replace(FAMILIES["llama"], halves={}))
    folder = causal.causal(tmp_path)
    dimension = {"name": "out", "part": "blocks", "ordered": False, "choices": [[], ["1.ffn"]]}
    space = {"version": 2, "dimensions": [dimension]}
    (folder / "search_space.json").write_text(json.dumps(space))
    with pytest.raises(InputError, match=r"out.*without its attention or without its FFN"):
        read_supernet(folder)


@pytest.mark.parametrize("name", ["3.ffn", "1.half", "x", 3])
def test_a_list_of_what_the_model_does_not_have_is_refused(tmp_path: Path, name):
    write_checkpoint(tmp_path, adapted=())
    dimension = {"name": "out", "part": "blocks", "ordered": False, "choices": [[], [name]]}
    space = {"version": 2, "dimensions": [dimension]}
    (tmp_path / "search_space.json").write_text(json.dumps(space))
    with pytest.raises(InputError, match="leave out, by numbers from 0 to 2") as caught:
        read_supernet(tmp_path)
    assert '"0.attention"' in str(caught.value.remedy)


ENDS = [EMBEDDED, *(half_end(i, half) for i in range(LAYERS) for half in ("attention", "ffn"))]
"""Where each half of a layer begins, and the last one ends."""


def skipping(folder: Path, blocks: list[list[str]], indicator: int) -> Supernet:
    return read_supernet(write_folder(folder, config(blocks=blocks, depth_indicator=indicator)))


def test_the_block_of_the_published_config_for_mnli_is_a_layers_attention(tmp_path: Path):
    """From the end of layer 0 to the end of layer 1's attention."""
    supernet = skipping(tmp_path / "f", [[half_end(0, "ffn"), half_end(1, "attention")]], 9)
    depth = supernet.space.dimensions[-1]
    assert (depth.name, depth.choices) == ("skipped_blocks", ((), ("1.attention",)))
    subnet = supernet.space.subnet({depth.name: ("1.attention",)})
    assert active_halves(supernet, subnet)[1] == ("ffn",)
    with torch.inference_mode():
        found = activate(supernet, subnet).logits(tokenized(supernet))
        torch.testing.assert_close(found, by_hand(supernet, subnet), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("indicator", [1, 2, 9])
def test_only_the_ends_of_chains_are_skipped(tmp_path: Path, indicator):
    """Two chains: the halves of layer 0, and the last three of the model."""
    places = [(0, 1), (1, 2), (3, 4), (4, 5), (5, 6)]
    chains = [[0, 1], [2, 3, 4]]
    supernet = skipping(tmp_path / "f", [[ENDS[a], ENDS[b]] for a, b in places], indicator)
    allowed = [
        way
        for size in range(len(places) + 1)
        for way in combinations(range(len(places)), size)
        if all(_is_end_of(chain, way, indicator) for chain in chains)
    ]
    found = supernet.space.dimensions[-1].choices
    halves = [f"{i}.{half}" for i in range(LAYERS) for half in ("attention", "ffn")]
    expected = [{halves[places[number][0]] for number in way} for way in allowed]
    assert [_halves(choice) for choice in found] == expected
    assert len(found) == {1: 4, 2: 9, 9: 12}[indicator]


def _is_end_of(chain: list[int], way: tuple[int, ...], indicator: int) -> bool:
    """Each skipped block of a chain is near enough to its end, and so are all behind it."""
    return all(
        len(chain) - place <= indicator and set(chain[place:]) <= set(way)
        for place, number in enumerate(chain)
        if number in way
    )


def _halves(choice: object) -> set[str]:
    assert isinstance(choice, tuple)
    return {
        name
        for each in choice
        for name in ([f"{each}.attention", f"{each}.ffn"] if isinstance(each, int) else [each])
    }


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([[ENDS[1], ENDS[1]]], "skipped_blocks/0.*ends before it begins"),
        ([[ENDS[0], ENDS[2]], [ENDS[1], ENDS[3]]], "skipped_blocks/1.*overlap"),
        ([[ENDS[0], "Bert/Dropout[dropout]/dropout_0"]], "skipped_blocks/0.*must begin and end"),
        ([[ENDS[0]]], "skipped_blocks/0.*pair"),
        ([], "skipped_blocks.*must be listed"),
    ],
)
def test_blocks_that_make_no_sense_are_refused_by_name(tmp_path: Path, blocks, message):
    with pytest.raises(InputError, match=message):
        skipping(tmp_path / "f", blocks, 1)


def test_fixed_blocks_are_refused(tmp_path: Path):
    content = config(blocks=[[ENDS[0], ENDS[1]]])
    depth = content["bootstrapNAS"]["training"]["elasticity"]["depth"]
    depth["fixed_skipped_blocks"] = [0]
    with pytest.raises(InputError, match=r"fixed_skipped_blocks.*every subnet"):
        read_supernet(write_folder(tmp_path / "f", content))


@pytest.mark.parametrize("model_type", FAMILY_NAMES)
def test_packs_give_what_padded_rows_do_and_training_reaches_what_is_left(
    tmp_path: Path, model_type
):
    supernet = read_supernet(with_halves(tmp_path, model_type))
    rows = examples(supernet)
    padded, packed = [rows.batch(range(60))], packs(supernet, rows, 200)
    for choice in OUT:
        subnet = supernet.space.subnet({"out": tuple(choice)})
        expected = logits(supernet, subnet, padded)
        torch.testing.assert_close(logits(supernet, subnet, packed), expected, rtol=1e-4, atol=1e-4)
    supernet.model.train().requires_grad_(True)
    subnet = supernet.space.subnet({"out": (0, "1.ffn")})
    activate(supernet, subnet).logits(padded[0].inputs).sum().backward()
    family = supernet.family
    reached = {
        (family.layer_of(name), family.half_of(name))
        for name, parameter in supernet.model.named_parameters()
        if parameter.grad is not None and family.layer_of(name) is not None
    }
    assert reached == {(1, "attention"), (2, "attention"), (2, "ffn")}
