"""What a heterogeneous super-network is made of, and what its students learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from elasticnas.api_schemas.flexibert_training import FlexiBertSettings
from elasticnas.api_schemas.jobs import StepProgress
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.contracts.families import padded
from elasticnas.supernet.methods.flexibert import teacher
from elasticnas.supernet.methods.step import StepRun, TrainingData
from elasticnas.supernet.operations.model import FlexiBertForSequenceClassification
from elasticnas.supernet.operations.students import students, whole
from elasticnas.supernet.operations.warming import as_chosen, fitted, warm
from elasticnas.supernet.supernet import Supernet
from elasticnas.supernet.training.hidden_states import comparable, distance, showing
from elasticnas.tasks import TEXT_CLASSIFICATION
from elasticnas.tasks.rows import Rows
from tests.supernet.heterogeneous import small_model, with_operation, write_heterogeneous
from tests.supernet.tiny import sentences, tiny_model, write_tokenizer


@pytest.fixture(scope="module")
def supernet(tmp_path_factory: pytest.TempPathFactory) -> Supernet:
    return read_supernet(write_heterogeneous(tmp_path_factory.mktemp("flexibert"), one_hidden=True))


def states_of(supernet: Supernet, operation: str) -> list[torch.Tensor]:
    active, states = showing(supernet, with_operation(supernet, operation))
    active.logits(padded().inputs)
    return states


def test_whole_students_take_the_fitted_operations_in_turn(supernet: Supernet) -> None:
    others = fitted(supernet.model.get_submodule("bert.encoder.layer.0"))
    assert others == ("conv", "dft", "dct")
    settings = FlexiBertSettings(whole_students=2, random_subnets=0)
    drawn = [list(students(supernet.space, settings, step, others)) for step in range(3)]
    assert [each[-1] for each in drawn] == [supernet.space.minimal] * 3
    assert [each for step in drawn for each in step[:-1]] == [
        with_operation(supernet, name) for name in (*others, *others)
    ]


def test_a_student_with_one_operation_is_whole_in_all_else(supernet: Supernet) -> None:
    found = whole(supernet.space, "conv")
    changed = {d.part for d in supernet.space.dimensions if found[d.name] != d.choices[0]}
    assert changed == {"operation"}


def test_hidden_states_are_compared_where_layers_and_channels_are_the_same(
    supernet: Supernet,
) -> None:
    is_token = padded().inputs["attention_mask"].flatten(1).bool()
    known = states_of(supernet, "sdp")
    assert len(known) == supernet.num_layers
    assert float(distance(known, known, is_token)) == 0
    assert 0.01 < float(distance(states_of(supernet, "conv"), known, is_token)) < 10
    for name, choice in (("depth", 2), ("hidden", 12)):
        active, states = showing(supernet, supernet.space.subnet({name: choice}))
        active.logits(padded().inputs)
        assert not comparable(states, known)


def test_padding_counts_for_nothing(supernet: Supernet) -> None:
    is_token = padded().inputs["attention_mask"].flatten(1).bool()
    known = states_of(supernet, "sdp")
    noisy = [each + 100 * (~is_token)[..., None] for each in known]
    assert not bool(is_token.all())
    assert float(distance(noisy, known, is_token)) == 0


def test_what_is_learnt_of_hidden_states_reaches_the_operation(supernet: Supernet) -> None:
    is_token = padded().inputs["attention_mask"].flatten(1).bool()
    known = [each.detach() for each in states_of(supernet, "sdp")]
    weight = supernet.model.get_parameter("bert.encoder.layer.0.operations.dct.dense.weight")
    weight.requires_grad_(True)
    try:
        distance(states_of(supernet, "dct"), known, is_token).backward()  # type: ignore[no-untyped-call]
        assert weight.grad is not None
        assert float(weight.grad.abs().sum()) > 0
    finally:
        weight.grad = None
        weight.requires_grad_(False)


def run(
    model: FlexiBertForSequenceClassification,
    hidden: torch.Tensor,
    is_token: torch.Tensor,
    operation: str | None = None,
) -> list[torch.Tensor]:
    """What is before each layer, and behind the last, of a subnet with one operation."""
    states = [hidden]
    with torch.no_grad():
        for layer in model.bert.encoder.layer:
            states.append(as_chosen(layer, operation)(states[-1], is_token))
    return states


@pytest.mark.parametrize("operation", ["conv", "dft", "dct"])
def test_an_operation_is_fitted_to_lead_a_subnet_of_its_own_back(operation: str) -> None:
    """Such a subnet ends nearer to the maximal one than without the fitting, in every layer."""
    model = small_model(reads=None).requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(40, 9, 24, generator=generator)
    is_token = torch.arange(9)[None] < torch.randint(3, 10, (40, 1), generator=generator)
    known = run(model, hidden, is_token)
    before = run(model, hidden, is_token, operation)
    for place, layer in enumerate(model.bert.encoder.layer):
        mine = run(model, hidden, is_token, operation)[place]
        own = {name: [mine] for name in fitted(layer)}
        warm(layer, [known[place]], own, [is_token], steps=60, seed=0)
    after = run(model, hidden, is_token, operation)
    for untrained, trained, target in zip(before[1:], after[1:], known[1:], strict=True):
        far = float(distance([untrained], [target], is_token))
        near = float(distance([trained], [target], is_token))
        assert near < 0.9 * far


@pytest.mark.parametrize("keep_head", [True, False])
def test_a_model_that_is_fine_tuned_already_stays_as_it_is(
    tmp_path: Path, *, keep_head: bool
) -> None:
    base = tmp_path / "base"
    tiny_model("bert").save_pretrained(base)
    write_tokenizer(base)
    texts = sentences(32, seed=5)
    rows = Rows({"text": texts}, np.array([int("good" in text) for text in texts]))
    (tmp_path / "output").mkdir()
    settings = FlexiBertSettings(keep_head=keep_head, steps=2, batch_size=8, max_length=16)
    told: list[StepProgress] = []
    teacher(
        StepRun(
            settings=settings,
            source=base,
            data=TrainingData(rows, TEXT_CLASSIFICATION, 2),
            output=tmp_path / "output",
            saved=None,
            device=torch.device("cpu"),
            tell=told.append,
            keep=lambda *_: None,
            must_stop=lambda: False,
        )
    )
    before, after = (load_file(each / "model.safetensors") for each in (base, tmp_path / "output"))
    same = [torch.equal(before[name], after[name]) for name in before]
    assert all(same) if keep_head else not any(same)
    assert told[-1].total == (1 if keep_head else 4), "an epoch, whatever the later steps are"
