"""Scores of heads, neurons and blocks, and the super-network that is made of a fine-tuned model."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import kl_div
from transformers import LlamaForCausalLM

from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import BLOCKS, FFN, HALVES, HEADS
from elasticnas.api_schemas.training import DeriveSettings, HalvesBy, Importance
from elasticnas.search.cost import whole_costs
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.contracts.checkpoints import tiny_model as contract_model
from elasticnas.supernet.contracts.families import masked_model
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.elasticity.axes import Axis, axes_of, fixed_macs, unit_macs
from elasticnas.supernet.elasticity.derived_space import derived_space, widths_for
from elasticnas.supernet.elasticity.first_order import FirstOrderScores
from elasticnas.supernet.elasticity.half_drops import HalfDrops
from elasticnas.supernet.elasticity.own_labels import class_losses, token_loss
from elasticnas.supernet.families import FAMILIES
from elasticnas.supernet.formats.elasticnas import elastic_part
from elasticnas.supernet.forward.activation import (
    ActiveSubnet,
    activate,
    active_blocks,
    active_halves,
)
from elasticnas.supernet.forward.stand_in import StandIn
from elasticnas.supernet.methods.local import run_recipe
from elasticnas.supernet.methods.pretrained import fine_tuned, training_rows
from elasticnas.supernet.methods.step import TrainingData
from elasticnas.supernet.plan import ModelShape
from elasticnas.supernet.supernet import Supernet, named_tensors
from elasticnas.tasks import TEXT_CLASSIFICATION
from elasticnas.tasks.rows import Rows
from tests.supernet.languages import questions, write_language_model
from tests.supernet.tiny import sentences, tiny_model, write_tokenizer

SMALL = {"batch_size": 8, "max_length": 16, "calibration_rows": 20}


def shape_of(family, model) -> ModelShape:
    shapes = {name: tuple(tensor.shape) for name, tensor in named_tensors(model, {}).items()}
    return ModelShape(family, model.config, shapes)


@pytest.mark.parametrize("name", ["bert", "distilbert", "llama", "bloom"])
@pytest.mark.parametrize("power", [1, 2])
def test_a_masks_gradient_is_that_of_the_weights_that_read_its_unit(name: str, power: int):
    """``dL/dm = sum(W * dL/dW)`` over the columns W that the mask m multiplies."""
    family = FAMILIES[name]
    model = contract_model(family).requires_grad_(False)
    shape = shape_of(family, model)
    tokens = torch.randint(5, 24, (3, 7), generator=torch.Generator().manual_seed(1))
    scores = FirstOrderScores(model, shape, power)
    active = ActiveSubnet(model, {}, family)
    for rows in (tokens[:2], tokens[2:]):
        with scores.watching():
            active.logits({"input_ids": rows}).square().sum().backward()

    model.requires_grad_(True)
    for axis, count in axes_of(shape).items():
        weight = model.get_parameter(f"{family.module(axis.layer, axis.reader)}.weight")
        expected = torch.zeros(count, dtype=torch.float64)
        for row in tokens:
            model.zero_grad()
            active.logits({"input_ids": row[None]}).square().sum().backward()
            products = (weight * weight.grad).detach().view(len(weight), count, -1)
            expected += products.sum((0, 2)).double().abs() ** power
        torch.testing.assert_close(scores.units[axis], expected, rtol=1e-3, atol=1e-6)


def test_influence_is_what_a_block_turns_the_hidden_states_by():
    family = FAMILIES["llama"]
    model = contract_model(family).requires_grad_(False)
    scores = FirstOrderScores(model, shape_of(family, model), 2)
    tokens = torch.randint(5, 24, (3, 7), generator=torch.Generator().manual_seed(1))
    for rows in (tokens[:2], tokens[2:]):
        with scores.watching():
            model(rows, use_cache=False)
    states: list[torch.Tensor] = []
    layers = model.get_submodule(family.layers).children()
    for layer in layers:
        layer.register_forward_pre_hook(lambda _, given: states.append(given[0]))
    after: list[torch.Tensor] = []
    list(model.get_submodule(family.layers).children())[-1].register_forward_hook(
        lambda _, __, output: after.append(output[0] if isinstance(output, tuple) else output)
    )
    model(tokens, use_cache=False)
    states += after
    for layer in range(len(states) - 1):
        cosine = torch.cosine_similarity(states[layer], states[layer + 1], dim=-1)
        assert float(scores.influence[layer]) == pytest.approx(float(1 - cosine.mean()), abs=1e-5)


@pytest.mark.parametrize(
    ("name", "reads_middle"),
    [
        ("bert", "intermediate"),
        ("distilbert", "ffn"),
        ("llama", "post_attention_layernorm"),
        ("bloom", "post_attention_layernorm"),
    ],
)
def test_the_influence_of_a_half_is_what_it_turns_the_hidden_states_by(
    name: str, reads_middle: str
):
    """Behind attention they are what the FFN's first module, or its norm, is given."""
    family = FAMILIES[name]
    model = contract_model(family).requires_grad_(False)
    scores = FirstOrderScores(model, shape_of(family, model), 2)
    tokens = {"input_ids": torch.randint(5, 24, (3, 7))}
    states: list[torch.Tensor] = []
    for block in model.get_submodule(family.layers).children():
        block.register_forward_pre_hook(lambda _, given: states.append(given[0]))
        middle = block.get_submodule(reads_middle)
        middle.register_forward_pre_hook(lambda _, given: states.append(given[0]))
    with scores.watching():
        output = model(**tokens, output_hidden_states=True)
    if name != "llama" and name != "bloom":  # whose last hidden states have passed a norm
        states.append(output.hidden_states[-1])
    cosines = [torch.cosine_similarity(a, b, dim=-1).mean() for a, b in pairwise(states)]
    found = scores.influence_of_halves.flatten()[: len(cosines)]
    torch.testing.assert_close(found, 1 - torch.stack(cosines).double(), rtol=0, atol=1e-5)


def test_halves_side_by_side_both_change_what_the_block_is_given():
    """GPT-NeoX adds both to it at once."""
    family = FAMILIES["gpt_neox"]
    model = contract_model(family).requires_grad_(False)
    scores = FirstOrderScores(model, shape_of(family, model), 2)
    seen: dict[str, torch.Tensor] = {}
    block = model.get_submodule(f"{family.layers}.0")
    block.register_forward_pre_hook(lambda _, given: seen.update(given=given[0]))
    for part in ("attention", "mlp"):
        block.get_submodule(part).register_forward_hook(
            lambda _, __, out, part=part: seen.update(
                {part: out[0] if isinstance(out, tuple) else out}
            )
        )
    with scores.watching():
        model(torch.randint(5, 24, (3, 7)), use_cache=False)
    for place, part in enumerate(("attention", "mlp")):
        cosine = torch.cosine_similarity(seen["given"], seen["given"] + seen[part], dim=-1).mean()
        found = float(scores.influence_of_halves[0, place])
        assert found == pytest.approx(1 - float(cosine.detach()), abs=1e-5)


@pytest.mark.parametrize("labels", [2, 3])
def test_squared_gradients_of_own_labels_add_up_to_the_fisher_matrix(labels: int):
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(labels, 5, generator=generator)
    x = torch.randn(5, generator=generator, requires_grad=True)
    found = torch.zeros(5)
    for loss in class_losses((weights @ x)[None], generator):
        (gradient,) = torch.autograd.grad(loss, x, retain_graph=True)
        found += gradient.square()
    expected = torch.zeros(5)
    for label in range(labels):
        log_shares = (weights @ x).log_softmax(0)
        (gradient,) = torch.autograd.grad(log_shares[label], x)
        expected += log_shares[label].exp().detach() * gradient.square()
    torch.testing.assert_close(found, expected)


def test_with_many_classes_they_do_in_the_mean():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 6, generator=generator, requires_grad=True)
    found = torch.zeros(6)
    for _ in range(2000):
        (loss,) = class_losses(logits, generator)
        found += torch.autograd.grad(loss, logits)[0][0].square() / 2000
    shares = logits.detach().softmax(-1)[0]
    torch.testing.assert_close(found, shares * (1 - shares), rtol=0.1, atol=0.01)


def test_tokens_are_drawn_as_the_model_foretells_them():
    shares = torch.tensor([0.7, 0.2, 0.1])
    logits = shares.log().expand(20_000, 3).clone().requires_grad_(True)
    loss = token_loss(logits, torch.Generator().manual_seed(0))
    entropy = float(-(shares * shares.log()).sum())
    assert float(loss.detach()) == pytest.approx(entropy, abs=0.02)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("derive") / "encoder"
    tiny_model("bert").save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def some_rows(labels: int = 2) -> TrainingData:
    texts = sentences(32, seed=5)
    values = np.array([index % labels for index in range(32)])
    return TrainingData(Rows({"text": texts}, values), TEXT_CLASSIFICATION, labels)


@pytest.mark.parametrize("importance", Importance)
def test_an_encoders_full_subnet_is_the_model_itself(
    importance: Importance, encoder: Path, tmp_path: Path
):
    settings = DeriveSettings(importance=importance, dropped_blocks=2, **SMALL)
    run_recipe("derive", encoder, some_rows(), tmp_path / "made", settings)
    supernet = read_supernet(tmp_path / "made")
    assert supernet.method == "elasticnas"
    assert not supernet.adapters
    tokens = {"input_ids": torch.randint(5, 24, (3, 7), generator=torch.Generator().manual_seed(1))}
    with torch.inference_mode():
        expected = tiny_model("bert")(**tokens).logits
        full = activate(supernet, supernet.space.maximal).logits(tokens)
        least = activate(supernet, supernet.space.minimal).logits(tokens)
    torch.testing.assert_close(full, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(least, expected, atol=1e-3)
    assert len(active_blocks(supernet, supernet.space.minimal)) == 1
    widths = {d.name: d.choices for d in supernet.space.dimensions}
    assert set(widths["layer.0.attention.heads"]) >= {4, 3, 2, 1}
    assert set(widths["layer.2.ffn.width"]) >= {40, 30, 20, 10}


def test_a_language_model_keeps_whole_groups_of_heads(tmp_path: Path):
    base = write_language_model(tmp_path, FAMILIES["llama"])
    settings = DeriveSettings(loss_on="text", shares=(0.5,), targets=(), dropped_blocks=1, **SMALL)
    run_recipe("derive", base, questions(), tmp_path / "made", settings)
    supernet = read_supernet(tmp_path / "made")
    widths = {d.name: d.choices for d in supernet.space.dimensions}
    assert widths["layer.0.attention.heads"] == (2, 1)
    assert widths["layer.0.ffn.width"] == (40, 20)
    (blocks,) = (d for d in supernet.space.dimensions if d.name == "blocks")
    (left_out,) = blocks.choices[1]
    with torch.inference_mode():
        tokens = {"input_ids": torch.randint(5, 24, (2, 6))}
        stock = contract_model(FAMILIES["llama"])
        full = activate(supernet, supernet.space.maximal).logits(tokens)
        torch.testing.assert_close(full, stock(**tokens).logits, rtol=1e-4, atol=1e-4)
    # What a block that is left out would be cut to makes no difference.
    chosen = {"blocks": (left_out,), f"layer.{left_out}.ffn.width": 20}
    assert supernet.space.subnet(chosen)[f"layer.{left_out}.ffn.width"] == 40


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_any_of_the_least_influential_halves_may_be_left_out(name: str, tmp_path: Path):
    if name == "bert":
        tiny_model("bert").save_pretrained(tmp_path / "base")
        write_tokenizer(tmp_path / "base")
        base, rows = tmp_path / "base", some_rows()
    else:
        base, rows = write_language_model(tmp_path, FAMILIES["llama"]), questions()
    settings = DeriveSettings(dropped_halves=3, **SMALL)
    run_recipe("derive", base, rows, tmp_path / "made", settings)
    supernet = read_supernet(tmp_path / "made")
    out = {d.name: d.choices[1] for d in supernet.space.dimensions if d.part == BLOCKS}
    assert len(out) == 3
    assert all(choices == (name.removeprefix("layer."),) for name, choices in out.items())
    tokens = {"input_ids": torch.randint(5, 24, (3, 7))}
    for count in (1, 3):
        chosen = dict(list(out.items())[:count])
        subnet = supernet.space.subnet(chosen)
        left = {(b, h) for b, halves in active_halves(supernet, subnet).items() for h in halves}
        gone = {(b, h) for b in range(3) for h in HALVES} - left
        assert {(f"{b}.{h}",) for b, h in gone} == set(chosen.values())
        with torch.inference_mode():
            expected = masked_model(supernet, subnet)(**tokens).logits
            found = activate(supernet, subnet).logits(tokens)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    # What a half that is left out would be cut to makes no difference.
    dropped, choice = next(iter(out.items()))
    width = "attention.heads" if dropped.endswith("attention") else "ffn.width"
    axis = f"{dropped.rpartition('.')[0]}.{width}"
    full, *_, least = next(d.choices for d in supernet.space.dimensions if d.name == axis)
    assert supernet.space.subnet({dropped: choice, axis: least})[axis] == full


@pytest.mark.parametrize("by", HalvesBy)
def test_a_half_that_does_nothing_is_the_first_to_be_left_out(by: HalvesBy, tmp_path: Path):
    base = write_language_model(tmp_path, FAMILIES["llama"])
    model = LlamaForCausalLM.from_pretrained(base)
    with torch.no_grad():
        model.model.layers[1].self_attn.o_proj.weight.zero_()
    model.save_pretrained(base)
    settings = DeriveSettings(dropped_halves=1, halves_by=by, loss_on="text", **SMALL)
    run_recipe("derive", base, questions(), tmp_path / "made", settings)
    dimensions = read_supernet(tmp_path / "made").space.dimensions
    assert [d.name for d in dimensions if d.part == BLOCKS] == ["layer.1.attention"]


def test_what_leaving_a_half_out_changes_is_summed_over_rows(encoder: Path):
    settings = DeriveSettings(**SMALL)
    base = fine_tuned(encoder, some_rows())
    rows = training_rows(encoder, some_rows(), settings, base)
    drops = HalfDrops(base.model, shape_of(base.family, base.model))
    device = torch.device("cpu")
    for some in ([0, 1, 2], [3]):
        drops.add(rows, some, device)
    full = base.model
    expected = torch.zeros(3, 2, dtype=torch.float64)
    for layer in range(3):
        for place, half in enumerate(HALVES):
            cut = copy.deepcopy(full)
            for part, gives in base.family.halves[half].parts.items():
                cut.bert.encoder.layer[layer]._modules[part] = StandIn(gives)
            for row in range(4):
                inputs = rows.inputs([row])
                with torch.inference_mode():
                    whole, found = (
                        ActiveSubnet(each, {}, base.family).logits(inputs) for each in (full, cut)
                    )
                expected[layer, place] += kl_div(
                    found.log_softmax(-1), whole.log_softmax(-1), log_target=True, reduction="sum"
                )
    torch.testing.assert_close(drops.sums, expected, rtol=1e-3, atol=1e-5)


def test_by_default_a_quarter_of_the_halves_may_be_left_out(encoder: Path, tmp_path: Path):
    run_recipe("derive", encoder, some_rows(), tmp_path / "made", DeriveSettings(**SMALL))
    dimensions = read_supernet(tmp_path / "made").space.dimensions
    assert sum(each.part == BLOCKS for each in dimensions) == 1  # of six


def test_a_family_whose_blocks_run_whole_loses_whole_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(FAMILIES._values, "llama", replace(FAMILIES["llama"], halves={}))
    base = write_language_model(tmp_path, FAMILIES["llama"])
    settings = DeriveSettings(dropped_halves=1, **SMALL)
    with pytest.raises(InputError, match="run whole only") as refused:
        run_recipe("derive", base, questions(), tmp_path / "refused", settings)
    assert refused.value.field == "dropped_halves"
    settings = DeriveSettings(dropped_blocks=1, **SMALL)
    run_recipe("derive", base, questions(), tmp_path / "made", settings)
    (out,) = (d for d in read_supernet(tmp_path / "made").space.dimensions if d.part == BLOCKS)
    assert out.name == "blocks"


def test_halves_and_blocks_are_not_left_out_together():
    with pytest.raises(ValidationError, match="give dropped_halves or dropped_blocks, not both"):
        DeriveSettings(dropped_halves=1, dropped_blocks=1)


def test_what_matters_is_kept_by_the_prefix(tmp_path: Path):
    """A model of which half the neurons do nothing loses nothing by being cut to the others."""
    model = tiny_model("bert")
    dead = torch.randperm(40, generator=torch.Generator().manual_seed(3))[:20]
    for layer in range(3):
        weight = model.get_parameter(f"bert.encoder.layer.{layer}.output.dense.weight")
        with torch.no_grad():
            weight[:, dead] = 0
    model.save_pretrained(tmp_path / "model")
    write_tokenizer(tmp_path / "model")
    settings = DeriveSettings(shares=(0.5,), targets=(), dropped_blocks=0, **SMALL)
    run_recipe("derive", tmp_path / "model", some_rows(), tmp_path / "made", settings)
    supernet = read_supernet(tmp_path / "made")
    halved = supernet.space.subnet({f"layer.{layer}.ffn.width": 20 for layer in range(3)})
    tokens = {"input_ids": torch.randint(5, 24, (3, 7))}
    with torch.inference_mode():
        torch.testing.assert_close(
            activate(supernet, halved).logits(tokens),
            model(**tokens).logits,
            rtol=1e-4,
            atol=1e-5,
        )


def test_widths_for_targets_are_near_them():
    family = FAMILIES["bert"]
    model = contract_model(family)
    shape = shape_of(family, model)
    generator = torch.Generator().manual_seed(0)
    scores = {axis: torch.rand(n, generator=generator) for axis, n in axes_of(shape).items()}
    (found,) = widths_for(shape, family.classifier(), scores, [0.6], 16)
    assert found.cost == pytest.approx(0.6, abs=0.05)
    assert {axis.part for axis in found.widths} == {HEADS, FFN}
    assert unit_macs(shape, 16)[Axis(0, FFN)] == 2 * 24 * 16


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_units_cost_what_the_cost_model_of_the_space_says(name: str):
    family = FAMILIES[name]
    model = contract_model(family)
    shape = shape_of(family, model)
    elastic = elastic_part(derived_space(shape, shares=(0.5,), blocks_out=(1,), tokens=16), shape)
    supernet = Supernet(
        "elasticnas", family, model, {}, elastic.space, elastic.plan, 16, Path("nowhere")
    )
    each, units = unit_macs(shape, 16), axes_of(shape)
    fixed = fixed_macs(shape, supernet.task_head, 16)
    halved = {axis.dimension: count // 2 for axis, count in units.items()}
    for subnet in (elastic.space.maximal, elastic.space.subnet(halved)):
        macs = fixed + sum(each[axis] * subnet.amount(axis.dimension) for axis in units)
        assert macs == whole_costs(cost_model(supernet), subnet, 16)[Cost.GFLOPS]


@pytest.mark.parametrize(
    ("settings", "labels", "field"),
    [
        ({"dropped_blocks": 3}, 2, "dropped_blocks"),
        ({"dropped_halves": 6}, 2, "dropped_halves"),
        ({}, 3, "base/config.json/num_labels"),
    ],
)
def test_what_cannot_be_done_is_refused(
    settings: dict[str, int], labels: int, field: str, encoder: Path, tmp_path: Path
):
    with pytest.raises(InputError) as refused:
        run_recipe(
            "derive",
            encoder,
            some_rows(labels),
            tmp_path / "made",
            DeriveSettings(**SMALL, **settings),
        )
    assert refused.value.field == field


def test_a_model_without_a_head_is_refused(tmp_path: Path):
    tiny_model("bert").bert.save_pretrained(tmp_path / "bare")
    write_tokenizer(tmp_path / "bare")
    with pytest.raises(InputError, match="task head"):
        run_recipe(
            "derive", tmp_path / "bare", some_rows(), tmp_path / "made", DeriveSettings(**SMALL)
        )
