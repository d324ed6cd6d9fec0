"""Flexora's recipe: what it selects, what it says of it, and what it leaves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from elasticnas.api_schemas.flexora_training import FlexoraSettings
from elasticnas.api_schemas.layer_selection import Verdict
from elasticnas.api_schemas.problems import InputError
from elasticnas.search.cost import cost_report
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.contracts.recipes import (
    Trial,
    a_step_that_must_stop_saves_and_goes_on_to_the_same_result,
    the_result_is_a_super_network,
)
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.families import FAMILIES
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.measuring.examples import LabelledTexts, tokenize
from elasticnas.supernet.methods.flexora import ROWS_FILE, read_report
from elasticnas.supernet.methods.local import WORK, run_recipe
from elasticnas.supernet.methods.step import TrainingData
from elasticnas.supernet.plan import Join
from elasticnas.supernet.selection.gated_loss import GatedLoss
from elasticnas.supernet.selection.gates import first_alphas
from elasticnas.supernet.selection.groups import Group
from elasticnas.supernet.selection.hypergradient import Problem
from elasticnas.supernet.selection.left_out import Effects
from elasticnas.supernet.selection.optimiser import FRESH, Sgd
from elasticnas.supernet.selection.report import Outcome, report_of
from elasticnas.supernet.selection.splits import Split, split_rows
from elasticnas.supernet.supernet import Supernet
from elasticnas.supernet.training.rows import LabelledRows
from elasticnas.tasks import TEXT_CLASSIFICATION
from elasticnas.tasks.rows import Rows
from tests.supernet.languages import questions, write_language_model
from tests.supernet.test_export import export
from tests.supernet.tiny import LAYERS, sentences, tiny_model, write_checkpoint, write_tokenizer

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "repeats": 1,
    "select_steps": 2,
    "select_batch_size": 4,
    "outer_batch_size": 8,
    "steps": 2,
    "batch_size": 8,
    "max_length": 16,
    "lora_rank": 4,
    "rule": "top",
    "top": 1,
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flexora") / "encoder"
    tiny_model("bert").save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def films(count: int = 32) -> TrainingData:
    texts = sentences(count, seed=5)
    rows = Rows({"text": texts}, np.array([int("good" in text) for text in texts]))
    return TrainingData(rows, TEXT_CLASSIFICATION, 2)


def run(encoder: Path, folder: Path, **settings: Any) -> Path:
    """The super-network that the recipe makes."""
    made = FlexoraSettings.model_validate(SMALL | settings)
    return run_recipe("flexora", encoder, films(), folder, made)


def selected_by(folder: Path) -> Path:
    """What the step `select` left of a recipe whose second step failed."""
    return folder / WORK / "select"


# -- what the recipe leaves ------------------------------------------------------------------


def test_only_the_selected_layers_have_adapters_and_each_can_be_off(encoder: Path, tmp_path: Path):
    supernet = read_supernet(run(encoder, tmp_path / "net", top=2))
    layers = {supernet.family.layer_of(module) for module in supernet.adapters}
    assert len(layers) == 2
    assert {each.layer for each in supernet.space.dimensions} == layers
    assert {each.choices for each in supernet.space.dimensions} == {(4, 0)}
    config = json.loads((tmp_path / "net" / "adapter" / "adapter_config.json").read_text())
    assert set(config["target_modules"]) == set(supernet.adapters)
    assert "layers_to_transform" not in config


@pytest.mark.slow
def test_modules_can_have_gates_of_their_own(encoder: Path, tmp_path: Path):
    supernet = read_supernet(run(encoder, tmp_path / "net", groups="module", top=1))
    assert len(supernet.adapters) == 1
    (dimension,) = supernet.space.dimensions
    assert dimension.name.endswith((".query.lora.rank", ".value.lora.rank"))


def test_all_adapters_are_trained_for_a_search_that_the_gates_warm_up(
    encoder: Path, tmp_path: Path
):
    settings = {"finetuned": "all", "sampling": "random", "rule": "phantom", "top": None}
    made = run(encoder, tmp_path / "net", margin=1e3, **settings)
    supernet = read_supernet(made)
    assert len(supernet.space.dimensions) == LAYERS


def test_a_selection_that_keeps_nothing_says_so(encoder: Path, tmp_path: Path):
    with pytest.raises(InputError, match="the selection keeps no adapter") as refused:
        run(encoder, tmp_path / "net", rule="phantom", top=None, margin=1e3)
    assert refused.value.field == "rule"
    report = read_report(selected_by(tmp_path / "net"))
    assert report.none_helps
    assert report.selected == ()
    assert {group.verdict for group in report.groups} == {Verdict.NOT_SELECTED}


def test_it_is_told_which_rows_the_gates_learnt_from(encoder: Path, tmp_path: Path):
    refused = {"rule": "phantom", "top": None, "margin": 1e3, "repeats": 2}
    with pytest.raises(InputError):
        run(encoder, tmp_path / "net", outer_share=0.25, **refused)
    first, second = json.loads((selected_by(tmp_path / "net") / ROWS_FILE).read_text())
    assert sorted(first["inner"] + first["outer"]) == list(range(32))
    assert first["outer"] != second["outer"]
    assert read_report(selected_by(tmp_path / "net")).outer == "held-out"


def test_the_last_rows_can_be_the_outer_ones_and_so_can_the_training_rows():
    last = split_rows(FlexoraSettings(outer="last", outer_share=0.25), 8, seed=1)
    assert last == Split((0, 1, 2, 3, 4, 5), (6, 7))
    same = split_rows(FlexoraSettings(outer="training"), 4, seed=1)
    assert same.inner == same.outer == (0, 1, 2, 3)


@pytest.mark.slow
def test_the_second_stage_can_go_on_from_the_selection(encoder: Path, tmp_path: Path):
    """At a learning rate of next to nothing its adapters are those of the selection."""
    still = {"learning_rate": 1e-30, "steps": 1}
    fresh = read_supernet(run(encoder, tmp_path / "a", **still))
    learnt = read_supernet(run(encoder, tmp_path / "b", start="selection", **still))
    assert all(adapter.b.abs().max() < 1e-20 for adapter in fresh.adapters.values())
    assert all(adapter.b.abs().max() > 1e-5 for adapter in learnt.adapters.values())


@pytest.mark.slow
@pytest.mark.parametrize("head", ["kept", "frozen"])
def test_a_fine_tuned_models_own_head_stays(head: str, encoder: Path, tmp_path: Path):
    supernet = read_supernet(run(encoder, tmp_path / "net", head=head))
    own = load_file(encoder / "model.safetensors")["classifier.weight"]
    now = supernet.model.get_parameter("classifier.weight")
    assert torch.equal(own, now) is (head == "frozen")


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [
        {"order": "unrolled", "inner_steps": 3},
        {"repeat_by": "bootstrap", "groups": "module", "repeats": 3},
        {"rule": "mean", "top": None, "start": "selection"},
    ],
)
def test_each_mode_goes_on_to_the_same_result(
    changed: dict[str, Any], encoder: Path, tmp_path: Path
):
    settings = FlexoraSettings.model_validate(SMALL | {"repeats": 2, "steps": 3} | changed)
    trial = Trial("flexora", settings, encoder, films())
    a_step_that_must_stop_saves_and_goes_on_to_the_same_result(trial, tmp_path)


@pytest.mark.slow
def test_a_language_model_goes_on_to_the_same_result(tmp_path: Path):
    base = write_language_model(tmp_path, FAMILIES["llama"])
    more = {"loss_on": "text", "order": "unrolled", "top": 2, "repeats": 2, "steps": 3}
    settings = FlexoraSettings.model_validate(SMALL | more)
    trial = Trial("flexora", settings, base, questions())
    a_step_that_must_stop_saves_and_goes_on_to_the_same_result(trial, tmp_path / "trial")
    the_result_is_a_super_network(trial, tmp_path / "result")


# -- what the report says ----------------------------------------------------------------------

GROUPS = [Group(f"layer.{layer}.lora.rank", (f"m.{layer}",)) for layer in range(3)]


def report(alphas: list[list[float]], **settings: Any):
    none = Effects(0.5, [0.1, 0.0, -0.1], [-0.1, 0.0, 0.1])
    made = FlexoraSettings.model_validate({"repeats": len(alphas)} | settings)
    outcomes = [Outcome(each, none) for each in alphas]
    return report_of(made, GROUPS, outcomes, Split((0, 1), (2,)), [8, 8, 8])


def test_a_group_is_selected_that_most_repeats_keep():
    found = report([[0.5, 0.2, -0.3, 0.1], [0.4, 0.0, -0.2, 0.1], [0.6, 0.3, 0.0, 0.1]])
    assert found.selected == ("layer.0", "layer.1")
    assert [group.kept for group in found.groups] == [3, 2, 0]
    assert [str(group.verdict) for group in found.groups] == [
        "selected",
        "undecided",
        "not selected",
    ]
    assert found.groups[0].alpha == pytest.approx(0.5)
    assert found.groups[0].margin == pytest.approx(0.4)
    assert found.groups[0].alpha_deviation == pytest.approx(0.0816, abs=1e-4)
    assert found.initial_subnets == (
        {"layer.0.lora.rank": 8, "layer.1.lora.rank": 8},
        {"layer.0.lora.rank": 8, "layer.1.lora.rank": 0},
    )


def test_priors_of_a_search_are_how_often_a_group_was_kept():
    alphas = [[0.5, 0.2, -0.3, 0.1], [0.4, 0.0, -0.2, 0.1], [0.6, 0.3, 0.0, 0.1]]
    whole = report(alphas, finetuned="all", ranks=(8, 4, 0)).priors
    assert whole["layer.0.lora.rank"] == pytest.approx((0.4, 0.4, 0.2))
    assert whole["layer.2.lora.rank"] == pytest.approx((0.1, 0.1, 0.8))
    selected = report(alphas).priors
    assert list(selected) == ["layer.0.lora.rank", "layer.1.lora.rank"]
    assert selected["layer.1.lora.rank"] == pytest.approx((0.6, 0.4))


def test_all_may_help_and_none_may():
    assert len(report([[0.5, 0.4, 0.3, 0.0]]).selected) == 3
    assert report([[-0.5, -0.4, 0.009, 0.0]]).none_helps


def test_the_published_rules_have_no_phantom():
    alphas = [[0.3, 0.1, -0.2]]
    assert report(alphas, rule="positive").selected == ("layer.0", "layer.1")
    assert report(alphas, rule="mean").selected == ("layer.0", "layer.1")
    assert report(alphas, rule="mean").groups[0].margin is None
    assert report([[0.3, 0.1, -0.2, 0.9]], rule="top", top=1).selected == ("layer.0",)


def test_rows_that_are_drawn_with_replacement_stay_on_their_side():
    settings = FlexoraSettings(repeat_by="bootstrap", outer_share=0.25)
    found = split_rows(settings, 100, seed=3)
    assert (len(found.inner), len(found.outer)) == (75, 25)
    assert not set(found.inner) & set(found.outer)
    assert len(set(found.outer)) < 25


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="give both, or neither"):
        FlexoraSettings(rule="top")
    with pytest.raises(ValueError, match="leave it out"):
        FlexoraSettings(space={"dimensions": []})
    with pytest.raises(InputError, match="leaves none"):
        split_rows(FlexoraSettings(outer_share=0.01), 10, seed=0)


# -- gates -------------------------------------------------------------------------------------


def gated(folder: Path, **options: Any) -> GatedLoss:
    """A tiny model with adapters that are not zero."""
    write_checkpoint(folder, "bert")
    return gated_loss(read_supernet(folder), **options)


def gated_loss(supernet: Supernet, **options: Any) -> GatedLoss:
    examples = tokenize(
        LabelledTexts.of(films(16).rows),
        load_tokenizer(supernet),
        supernet.family,
        task=TEXT_CLASSIFICATION,
        max_length=32,
    )
    layers = range(supernet.num_layers)
    groups = tuple(
        Group(f"layer.{at}.lora.rank", tuple(supernet.shape.adapted_in(at))) for at in layers
    )
    rows = LabelledRows(examples, TEXT_CLASSIFICATION)
    return GatedLoss(supernet, groups, rows, CPU, **options)


def theta_of(supernet: Supernet) -> dict[str, torch.Tensor]:
    return {name: each for name, each in supernet.tensors.items() if ".lora_" in name}


@pytest.mark.parametrize("join", [Join.PLAIN, Join.UNMERGED])
def test_a_gate_scales_its_adapters_once(join: Join, tmp_path: Path):
    loss = gated(tmp_path)
    supernet, rows = loss.supernet, list(range(16))
    adapters = {m: replace(a, join=join) for m, a in supernet.adapters.items()}
    loss = replace(loss, supernet=replace(supernet, adapters=adapters))
    scaled = {m: replace(a, scaling=1.5 * a.scaling) for m, a in adapters.items()}
    gates = torch.full((len(loss.groups),), 1.5)
    found = loss(theta_of(supernet), gates, rows)
    stronger = activate(replace(supernet, adapters=scaled), supernet.space.maximal)
    assert float(found.detach()) == pytest.approx(
        float(loss.rows.loss(stronger, rows, CPU).detach()), rel=1e-5
    )
    assert float(loss(theta_of(supernet), gates / 1.5, rows)) != pytest.approx(float(found))


def error_of_the_derivative(loss: GatedLoss, theta: dict[str, torch.Tensor], steps: int) -> float:
    """Relative, against central differences, in float64."""
    problem = Problem(loss, Sgd(0.05), unrolled=True)
    alphas = torch.linspace(-0.3, 0.3, len(loss.groups) + 1, dtype=torch.float64)
    inner = [list(range(4 * at, 4 * at + 4)) for at in range(steps)]
    outer = list(range(12, 16))
    exact = problem.look_ahead(theta, FRESH, alphas, inner, outer).gradient
    assert abs(float(exact.sum())) <= 1e-12

    def at(moved: torch.Tensor) -> float:
        return problem.look_ahead(theta, FRESH, moved, inner, outer).outer_loss

    step = 1e-3 * torch.eye(len(alphas), dtype=torch.float64)
    found = [(at(alphas + each) - at(alphas - each)) / 2e-3 for each in step]
    differences = torch.tensor(found, dtype=torch.float64)
    return float((exact - differences).norm() / differences.norm())


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 3])
def test_minilm_has_the_derivative_of_central_differences(steps: int, minilm: Path, tmp_path: Path):
    loss = minilm_loss(minilm, tmp_path)
    generator = torch.Generator().manual_seed(0)
    theta = theta_of(loss.supernet)
    for name, tensor in theta.items():
        noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        theta[name] = tensor.double() + 0.02 * noise * name.endswith("lora_B")
    assert error_of_the_derivative(loss, theta, steps) <= 1e-6


@pytest.mark.slow
def test_minilms_first_order_derivative_is_zero_where_b_is(minilm: Path, tmp_path: Path):
    loss = minilm_loss(minilm, tmp_path)
    theta = {name: each.double() for name, each in theta_of(loss.supernet).items()}
    alphas = first_alphas(len(loss.groups), phantom=True)
    still = Problem(loss, Sgd(0.0))
    inner, outer = [[0, 1, 2, 3]], [4, 5, 6, 7]
    assert not still.look_ahead(theta, FRESH, alphas, inner, outer).gradient.any()
    moving = Problem(loss, Sgd(0.05), unrolled=True)
    assert moving.look_ahead(theta, FRESH, alphas, inner, outer).gradient[:-1].all()


def minilm_loss(minilm: Path, folder: Path) -> GatedLoss:
    """MiniLM in float64 with fresh adapters and a new head."""
    settings = FlexoraSettings.model_validate(SMALL | {"top": 6, "learning_rate": 1e-30})
    made = run_recipe("flexora", minilm, films(), folder / "net", settings)
    supernet = read_supernet(made)
    adapters = {m: replace(a, b=torch.zeros_like(a.b)) for m, a in supernet.adapters.items()}
    double = replace(supernet, model=supernet.model.double(), adapters=adapters)
    return gated_loss(double, twice=True)


# -- rank 0 --------------------------------------------------------------------------------------


@pytest.mark.parametrize("join", [Join.PLAIN, Join.UNMERGED, Join.MASKED])
def test_rank_0_is_the_adapter_deleted_to_the_bit(join: Join, tmp_path: Path):
    supernet = read_supernet(with_rank_0(tmp_path / "net"))
    adapters = {m: replace(a, join=join) for m, a in supernet.adapters.items()}
    supernet = replace(supernet, adapters=adapters)
    names = [each.name for each in supernet.space.dimensions]
    chosen = dict.fromkeys(names, 4) | {names[1]: 0}
    gone = supernet.shape.adapted_in(1)
    left = {m: a for m, a in adapters.items() if m not in gone}
    inputs = {"input_ids": torch.tensor([[2, 5, 6, 3]]), "attention_mask": torch.ones(1, 4).long()}
    with torch.inference_mode():
        off = activate(supernet, supernet.space.subnet(chosen)).logits(inputs)
        deleted = activate(replace(supernet, adapters=left), supernet.space.maximal).logits(inputs)
        whole = activate(supernet, supernet.space.maximal).logits(inputs)
    assert torch.equal(off, deleted)
    assert not torch.equal(off, whole)


def with_rank_0(folder: Path) -> Path:
    """A checkpoint whose layers' adapters can be off."""
    write_checkpoint(folder, "bert")
    space = {
        "version": 2,
        "dimensions": [
            {"name": f"layer.{at}", "part": "rank", "layer": at, "choices": [4, 0]}
            for at in range(LAYERS)
        ],
    }
    (folder / "search_space.json").write_text(json.dumps(space))
    return folder


def test_a_stock_adapter_names_the_modules_that_are_on_and_needs_one(tmp_path: Path):
    supernet = read_supernet(with_rank_0(tmp_path / "net"))
    names = [each.name for each in supernet.space.dimensions]
    first = supernet.space.subnet(dict.fromkeys(names, 0) | {names[0]: 4})
    folder = export(supernet, first, "peft", tmp_path)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert set(config["target_modules"]) == set(supernet.shape.adapted_in(0))
    assert "layers_to_transform" not in config
    with pytest.raises(InputError, match="keeps no adapter") as refused:
        export(supernet, supernet.space.minimal, "peft", tmp_path / "none")
    assert refused.value.field == "format"


def test_the_costs_of_rank_0_are_those_of_no_adapter(tmp_path: Path):
    supernet = read_supernet(with_rank_0(tmp_path / "net"))
    adapters = {m: replace(a, b=torch.zeros_like(a.b)) for m, a in supernet.adapters.items()}
    sparse = replace(supernet, adapters=adapters)
    off = cost_report(cost_model(sparse), sparse.space.minimal, 16)
    whole = cost_report(cost_model(sparse), sparse.space.maximal, 16)
    trained = sum(a.a.numel() + a.b.numel() for a in adapters.values())
    assert whole.trainable_params - off.trainable_params == trained
    assert whole.gflops == off.gflops  # merged adapters are free
    assert (off.adapter_gflops, off.adapter_bytes) == (0, 0)
    assert whole.adapter_gflops == 16 * trained / 1e9  # all see every one of 16 tokens
    assert whole.adapter_bytes == 4 * trained


def test_no_other_part_has_a_choice_of_0(tmp_path: Path):
    folder = with_rank_0(tmp_path / "net")
    file = folder / "search_space.json"
    space = json.loads(file.read_text())
    space["dimensions"].append({"name": "f", "part": "ffn", "layer": 0, "choices": [64, 0]})
    file.write_text(json.dumps(space))
    with pytest.raises(InputError, match="must descend and be above 0"):
        read_supernet(folder)
