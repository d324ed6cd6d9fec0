"""Orders, reordering and spaces for target costs, held to the original's own products."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import FFN, HEADS
from elasticnas.supernet.checkpoint.base_model import BaseModel, read_base_model
from elasticnas.supernet.contracts.checkpoints import tiny_model
from elasticnas.supernet.elasticity.axes import Axis, axes_of, descending, fixed_macs, unit_macs
from elasticnas.supernet.elasticity.movement import MatrixScores, MovementScores
from elasticnas.supernet.elasticity.refit import Covariances, refitted
from elasticnas.supernet.elasticity.reorder import reorder
from elasticnas.supernet.elasticity.target_costs import (
    STEPS,
    Bisection,
    choices_of,
    linear_cost,
    original_targets,
    ranked_widths,
)
from elasticnas.supernet.families import FAMILIES
from elasticnas.supernet.families.family import Role
from elasticnas.supernet.plan import ModelShape
from elasticnas.supernet.supernet import named_tensors

FILES = {
    "query": Role.QUERY,
    "key": Role.KEY,
    "value": Role.VALUE,
    "attention_output": Role.ATTENTION_OUTPUT,
    "intermediate": Role.FFN_IN,
    "output": Role.FFN_OUT,
}


def shape_of(family, model) -> ModelShape:
    shapes = {name: tuple(tensor.shape) for name, tensor in named_tensors(model, {}).items()}
    return ModelShape(family, model.config, shapes)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_the_full_model_computes_the_same_in_any_order(name: str):
    family = FAMILIES[name]
    model = tiny_model(family)
    tokens = torch.randint(5, 24, (3, 7), generator=torch.Generator().manual_seed(1))
    shape = shape_of(family, model)
    generator = torch.Generator().manual_seed(2)
    orders = {
        axis: torch.randperm(count, generator=generator) for axis, count in axes_of(shape).items()
    }
    with torch.inference_mode():
        before = model(tokens).logits
        first = model.state_dict()
        first = {tensor: value.clone() for tensor, value in first.items()}
        reorder(named_tensors(model, {}), shape, orders)
        after = model(tokens).logits
    changed = {n for n, tensor in model.state_dict().items() if not torch.equal(tensor, first[n])}
    assert {f"{family.module(0, role)}.weight" for role in (Role.FFN_IN, Role.FFN_OUT)} <= changed
    assert all(family.layer_of(tensor) is not None for tensor in changed)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


def test_a_key_value_head_takes_its_query_heads_along():
    family = FAMILIES["llama"]
    model = tiny_model(family)
    first = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    reorder(
        named_tensors(model, {}), shape_of(family, model), {Axis(1, HEADS): torch.tensor([1, 0])}
    )
    for role, size in ((Role.QUERY, 16), (Role.KEY, 8), (Role.VALUE, 8)):
        name = f"{family.module(1, role)}.weight"
        swapped = torch.cat([first[name][size:], first[name][:size]])
        assert torch.equal(model.get_parameter(name), swapped)


@pytest.mark.parametrize(
    ("axis", "order"),
    [(Axis(0, HEADS), [0, 1, 2, 2]), (Axis(0, HEADS), [0, 1]), (Axis(9, FFN), [0])],
)
def test_what_is_no_order_of_the_units_is_refused(axis: Axis, order: list[int]):
    family = FAMILIES["bert"]
    model = tiny_model(family)
    with pytest.raises(InputError, match="no permutation"):
        reorder(named_tensors(model, {}), shape_of(family, model), {axis: torch.tensor(order)})


@pytest.fixture(scope="module")
def original(shared_data: Path) -> tuple[BaseModel, ModelShape, MovementScores, Path]:
    folder = shared_data / "eftnas-minilm-sst2"
    base = read_base_model(folder, {})
    shape = shape_of(base.family, base.model)
    scores = np.load(folder / "importance.npz")
    matrices = {
        (layer, role): MatrixScores(
            scores[f"raw_{layer}_{name}_weight"], scores[f"raw_{layer}_{name}_bias"]
        )
        for layer in range(6)
        for name, role in FILES.items()
    }
    return base, shape, MovementScores(matrices, axes_of(shape)), folder


def test_orders_are_those_of_the_original(original):
    _, _, scores, folder = original
    orders = descending(scores.scores())
    expected = json.loads((folder / "order.json").read_text())
    for layer in range(6):
        assert orders[Axis(layer, HEADS)].tolist() == expected["heads"][layer]
        assert orders[Axis(layer, FFN)].tolist() == expected["neurons"][layer]


def bisection(original, tolerance: float) -> Bisection:
    base, shape, scores, _ = original
    each = {axis: macs / 1e6 for axis, macs in unit_macs(shape, 64).items()}
    cost = linear_cost(each, fixed_macs(shape, base.task_head, 64) / 1e6)
    return Bisection(scores.widths, cost, scores.units, tolerance)


def test_thresholds_widths_and_every_step_are_those_of_the_original(original):
    _, _, scores, folder = original
    expected: dict[str, Any] = json.loads((folder / "space.json").read_text())
    targets = original_targets(expected["cmin"], expected["cmax"], expected["n"])
    assert targets == [each["target"] for each in expected["targets"]]
    search = bisection(original, expected["tolerance_millions"])
    found = [search.find(target) for target in targets]
    for each, told in zip(found, expected["targets"], strict=True):
        assert each.threshold == told["threshold"]
        assert each.cost == pytest.approx(told["macs_millions"], rel=1e-12)
        widths = [width * (32 if axis.part == HEADS else 1) for axis, width in each.widths.items()]
        assert widths == list(told["widths"].values())
        assert not each.skipped
        assert each.message is None
    steps = [(each.target, s.threshold, s.cost) for each in found for s in each.steps]
    assert len(steps) == 61
    for (target, threshold, cost), told in zip(steps, expected["bisection"], strict=True):
        assert (target, threshold) == (told["target"], told["threshold"])
        assert cost == pytest.approx(told["macs_millions"], rel=1e-12)
    choices = choices_of(found, scores.units)
    assert np.prod([len(each) for each in choices.values()]) == 25_312_500


def test_a_target_that_cannot_be_met_ends_with_the_nearest(original):
    found = bisection(original, 1e-6).find(300)
    assert len(found.steps) == STEPS
    assert found.cost == min((s.cost for s in found.steps), key=lambda cost: abs(cost - 300))
    assert found.message is not None
    assert "300" in found.message


def test_what_is_hardly_left_is_left_out(original):
    base, shape, scores, _ = original
    found = bisection(original, 6).find(20)
    kept = scores.widths(found.threshold)
    assert found.skipped == {a for a, w in kept.items() if w < 0.02 * scores.units[a]}
    assert Axis(0, FFN) in found.skipped
    macs = unit_macs(shape, 64)
    expected = fixed_macs(shape, base.task_head, 64) + sum(
        macs[axis] * kept[axis] for axis in kept if axis not in found.skipped
    )
    assert found.cost == pytest.approx(expected / 1e6)
    assert choices_of([found], scores.units)[Axis(0, FFN)] == (1536,)


def test_ranks_cut_as_their_scores_do():
    scores = {Axis(0, HEADS): torch.tensor([9e9, -2.0, 0.5]), Axis(0, FFN): torch.tensor([0.4, 3])}
    widths_at = ranked_widths(scores)
    assert widths_at(0.0) == {Axis(0, HEADS): 3, Axis(0, FFN): 2}
    assert widths_at(0.4) == {Axis(0, HEADS): 2, Axis(0, FFN): 1}
    assert widths_at(0.8) == {Axis(0, HEADS): 1, Axis(0, FFN): 0}


def test_a_refitted_layer_is_the_least_squares_solution():
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    inputs = torch.randn(200, 6, generator=generator, dtype=torch.float64) @ mixed
    weight = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    found = refitted(weight, inputs.T @ inputs, [6, 4, 2], damping=0.0)
    for width in (4, 2):
        expected = torch.linalg.lstsq(inputs[:, :width], inputs @ weight.T).solution.T
        torch.testing.assert_close(found[width], expected)
    assert torch.equal(found[6], weight)


def test_inputs_that_are_always_zero_are_refitted_to_nothing_new():
    weight = torch.ones(2, 3)
    found = refitted(weight, torch.zeros(3, 3, dtype=torch.float64), [2])
    assert torch.equal(found[2], weight[:, :2])


def test_covariances_are_of_what_the_reading_layers_are_given():
    family = FAMILIES["llama"]
    model = tiny_model(family)
    covariances = Covariances(model, shape_of(family, model))
    tokens = torch.randint(5, 24, (3, 7), generator=torch.Generator().manual_seed(1))
    seen: list[torch.Tensor] = []
    name = family.module(1, Role.FFN_OUT)
    with torch.inference_mode():
        for rows in (tokens[:2], tokens[2:]):
            with covariances.watching():
                model(rows)
        model.get_submodule(name).register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        model(tokens)
    inputs = seen[0].flatten(0, 1).double()
    torch.testing.assert_close(covariances.sums[name], inputs.T @ inputs, rtol=1e-5, atol=1e-5)
    assert set(covariances.sums) == {
        family.module(layer, role)
        for layer in range(3)
        for role in (Role.ATTENTION_OUTPUT, Role.FFN_OUT)
    }
