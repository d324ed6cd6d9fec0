"""Subnets that are trained by themselves before they are measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from elasticnas.api_schemas.conditions import Conditions, FineTuning, TrainingStart
from elasticnas.api_schemas.finetuning import FinetuneSettings
from elasticnas.api_schemas.messages import (
    EvaluateSubnets,
    Rung,
    StartingWeights,
    SubnetOutcome,
    SubnetsEvaluated,
    SubnetToEvaluate,
)
from elasticnas.supernet.measuring.measure import EvaluationUnwantedError
from elasticnas.supernet.methods.trained_first import Start, TrainingFiles
from elasticnas.worker.evaluator import SubnetAsked
from elasticnas.worker.isolation import Measurement, evaluator_of
from elasticnas.worker.training_evaluator import TrainingEvaluator
from tests.worker.test_handlers import Bench, evaluation, under
from tests.worker.test_model_cache import models

SETTINGS = FinetuneSettings(steps=12, batch_size=8, learning_rate=3e-3, max_length=16)
SUBNET = SubnetAsked({"layer.0.lora.rank": 1})


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def conditions(bench: Bench) -> Conditions:
    """Trained on 64 rows, measured on 40 of them, which tells a training from none."""
    rows = bench.dataset(rows=64)
    learnt = FineTuning(rows=rows, settings=SETTINGS.model_dump(mode="json"))
    asked = evaluation(bench.checkpoint(), bench.dataset(), {})
    return under(asked, fine_tuning=learnt).conditions


def never() -> bool:
    return False


def test_a_subnet_is_measured_as_it_is_once_trained_always_alike(bench: Bench):
    """In this process and in another; the super-network's own weights stay what they are."""
    asked = conditions(bench)
    cache = models(bench, capacity=1)
    evaluator = cache.evaluator(asked)
    assert isinstance(evaluator, TrainingEvaluator)
    supernet = cache.supernet(asked.supernet).supernet
    before = {name: tensor.clone() for name, tensor in supernet.tensors.items()}
    untrained = cache.evaluator(asked.model_copy(update={"fine_tuning": None}))
    plain = untrained.measure(SUBNET, never, share=False).metrics
    first = evaluator.measure(SUBNET, never, share=True).metrics
    assert first is not None
    assert plain is not None
    assert first["accuracy"] > plain["accuracy"]
    other = evaluator.measure(SubnetAsked({}), never, share=True).metrics
    assert evaluator.measure(SUBNET, never, share=True).metrics == first
    assert other != plain
    for name, tensor in supernet.tensors.items():
        assert torch.equal(tensor, before[name]), name
    assert untrained.measure(SUBNET, never, share=False).metrics == plain
    with elsewhere(bench, asked) as apart:
        assert apart.measure(SUBNET, never, share=False).metrics == first


def test_a_training_that_nobody_waits_for_is_left_at_once(bench: Bench):
    evaluator = models(bench, capacity=1).evaluator(conditions(bench))
    asked = []

    def is_unwanted() -> bool:
        asked.append(None)
        return len(asked) == 3

    with pytest.raises(EvaluationUnwantedError):
        evaluator.measure(SUBNET, is_unwanted, share=False)
    assert len(asked) == 3


def test_its_time_limit_knows_of_the_training(bench: Bench):
    asked = conditions(bench)
    cache = models(bench, capacity=1)
    trained, plain = (
        cache.evaluator(each) for each in (asked, asked.model_copy(update={"fine_tuning": None}))
    )
    assert trained.rows == plain.rows
    assert trained.tokens > plain.tokens + SETTINGS.batch_size * 12


def test_a_training_begins_with_another_s_weights_and_what_it_learns_is_kept(bench: Bench):
    """Over messages: trained, trained on from there, and read again where it was kept."""
    asked = conditions(bench)
    assert asked.fine_tuning is not None
    learns = asked.fine_tuning.model_copy(update={"start": TrainingStart.NEAREST})
    asked = asked.model_copy(update={"fine_tuning": learns})
    first, second = {}, {"layer.0.ffn.width": 7}

    def measured(*items: SubnetToEvaluate) -> list[SubnetOutcome]:
        found = bench.ask(EvaluateSubnets(search_id="s", conditions=asked, subnets=items))
        (batch,) = (each for each in found if isinstance(each, SubnetsEvaluated))
        return list(batch.outcomes)

    [alone] = measured(SubnetToEvaluate(number=0, subnet=first))
    assert alone.weights is not None
    start = StartingWeights(subnet=first, tensors=alone.weights, layers=3)
    new = SubnetToEvaluate(number=1, subnet=second, start=start)
    [begun] = measured(new)
    [again] = measured(new.model_copy(update={"attempt": 2}))
    [plain] = measured(SubnetToEvaluate(number=2, subnet=second))
    assert begun.weights == again.weights != plain.weights
    assert begun.metrics == again.metrics
    [known] = measured(SubnetToEvaluate(number=3, subnet=second, trained=begun.weights))
    assert known.metrics == begun.metrics
    assert bench.blobs.leased == []
    evaluator = models(bench, capacity=1).evaluator(asked)
    assert isinstance(evaluator, TrainingEvaluator)
    subnet = evaluator.training.supernet.space.subnet(second)
    with bench.blobs.lease(begun.weights or "") as trained, bench.blobs.lease(alone.weights) as of:
        files = [TrainingFiles(trained=trained), TrainingFiles(Start(of, first, 3))]
        kept, made = (evaluator.training.subnet(subnet, never, each) for each in files)
    assert kept.tensors.keys() == made.tensors.keys()
    assert all(torch.equal(kept.tensors[name], made.tensors[name]) for name in kept.tensors)


def test_a_training_goes_on_from_rung_to_rung_to_the_same_weights(bench: Bench):
    """Left off twice, it comes to what it comes to in one go."""
    asked = conditions(bench)
    assert asked.fine_tuning is not None
    keeps = asked.fine_tuning.model_copy(update={"start": TrainingStart.NEAREST})
    asked = asked.model_copy(update={"fine_tuning": keeps})
    subnet = {"layer.0.lora.rank": 1}

    def measured(rung: Rung | None) -> SubnetOutcome:
        item = SubnetToEvaluate(
            number=0, subnet=subnet, rung=rung, attempt=0 if rung is None else 1 + rung.number
        )
        found = bench.ask(EvaluateSubnets(search_id="s", conditions=asked, subnets=(item,)))
        (batch,) = (each for each in found if isinstance(each, SubnetsEvaluated))
        return batch.outcomes[0]

    first = measured(Rung(number=0, until=3))
    second = measured(Rung(number=1, until=6, state=first.state))
    last = measured(Rung(number=2, state=second.state))
    whole = measured(None)
    assert [each.rung for each in (first, second, last)] == [0, 1, 2]
    assert None not in (first.state, second.state)
    assert first.state != second.state
    assert first.weights is second.weights is last.state is None
    assert last.metrics == whole.metrics != first.metrics
    assert last.weights is not None
    assert last.weights == whole.weights
    assert bench.blobs.leased == []


@contextmanager
def elsewhere(bench: Bench, asked: Conditions) -> Iterator[TrainingEvaluator]:
    """What a process of its own measures with."""
    assert asked.fine_tuning is not None
    cache = models(bench, capacity=1)
    with (
        cache.checkpoint(asked.supernet) as folder,
        bench.blobs.lease(asked.dataset) as dataset,
        bench.blobs.lease(asked.fine_tuning.rows) as training,
    ):
        measurement = Measurement(
            checkpoint=folder,
            dataset=dataset,
            conditions=asked,
            pilots=(),
            asked=SUBNET,
            device="cpu",
            token_budget=512,
            memory_bytes=cache.memory_bytes,
            limit_seconds=60.0,
            training=training,
        )
        found = evaluator_of(measurement)
        assert isinstance(found, TrainingEvaluator)
        yield found
