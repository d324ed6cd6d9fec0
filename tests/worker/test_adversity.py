"""What a worker does when memory runs out, when nobody waits any more, and at a second delivery."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from elasticnas.api_schemas.messages import (
    InspectSupernet,
    SubnetsDeclined,
    SubnetsEvaluated,
    SubnetsVerified,
    SupernetInspected,
    VerifySubnets,
)
from elasticnas.api_schemas.verification import RowSplit
from elasticnas.supernet.forward.activation import ActiveSubnet
from elasticnas.supernet.measuring import measure as evaluating
from elasticnas.worker import evaluator, isolation
from tests.worker.test_handlers import Bench, evaluation, under


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


class SmallDevice:
    """A device whose memory holds so many tokens at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tokens: int) -> None:
        self.batches: list[int] = []
        real = ActiveSubnet.logits

        def logits(active, inputs):
            size = inputs["input_ids"].numel()
            self.batches.append(size)
            if size > tokens:
                raise torch.OutOfMemoryError("device out of memory")
            return real(active, inputs)

        monkeypatch.setattr(ActiveSubnet, "logits", logits)


def test_when_memory_runs_out_batches_become_smaller_and_the_metrics_stay(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    message = evaluation(bench.checkpoint(), bench.dataset(), {}, {"layer.0.ffn.width": 7})
    undisturbed = bench.ask(message)[1]
    device = SmallDevice(monkeypatch, tokens=100)
    disturbed = bench.ask(message.model_copy(update={"search_id": "s2"}))[1]
    assert isinstance(undisturbed, SubnetsEvaluated)
    assert isinstance(disturbed, SubnetsEvaluated)
    assert device.batches[0] > 100
    assert device.batches[-1] <= 100
    assert [o.metrics for o in disturbed.outcomes] == [o.metrics for o in undisturbed.outcomes]
    tried = len(device.batches)
    bench.ask(message.model_copy(update={"search_id": "s3"}))
    assert max(device.batches[tried:]) <= 100  # what fits is remembered


def test_when_memory_runs_out_shared_activations_go_before_batches_become_smaller(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    subnets = ({}, {"layer.2.ffn.width": 7}, {"layer.2.ffn.width": 24})
    message = evaluation(bench.checkpoint(), bench.dataset(), *subnets)
    undisturbed = bench.ask(message)[1]
    cache = bench.runtime._models._prefixes
    batches: list[int] = []
    held: list[int] = []
    real = ActiveSubnet.logits

    def logits(active, inputs):
        batches.append(inputs["input_ids"].numel())
        held.append(cache.held_bytes)
        if cache.held_bytes > 0 and len(held) == 1:
            raise torch.OutOfMemoryError("device out of memory")
        return real(active, inputs)

    monkeypatch.setattr(ActiveSubnet, "logits", logits)
    before = cache.limit_bytes
    disturbed = bench.ask(message.model_copy(update={"search_id": "s2"}))[1]
    assert isinstance(undisturbed, SubnetsEvaluated)
    assert isinstance(disturbed, SubnetsEvaluated)
    assert [o.metrics for o in disturbed.outcomes] == [o.metrics for o in undisturbed.outcomes]
    assert held[0] > 0
    assert held[1] == 0  # dropped, and the same batches once more
    first, *tried = batches
    whole = len(tried) // len(subnets)
    assert first == tried[0]
    assert tried == tried[:whole] * len(subnets)
    assert cache.limit_bytes == held[0] // 2 < before


@pytest.mark.slow
def test_a_subnet_that_does_not_fit_row_by_row_fails_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    real = evaluating.activate

    def activate(supernet, subnet, *splice):
        if subnet == supernet.space.maximal:
            raise torch.OutOfMemoryError("device out of memory")
        return real(supernet, subnet, *splice)

    monkeypatch.setattr(evaluating, "activate", activate)
    result = bench.ask(
        evaluation(bench.checkpoint(), bench.dataset(), {}, {"layer.0.ffn.width": 7})
    )[1]
    assert isinstance(result, SubnetsEvaluated)
    large, small = result.outcomes
    assert large.problem is not None
    assert "memory" in large.problem.title
    assert small.metrics is not None


def test_a_paused_search_begins_nothing_and_says_so(bench: Bench):
    message = evaluation(bench.checkpoint(), bench.dataset(), {}, {"layer.0.ffn.width": 7})
    bench.signals.halt("s1", "paused")
    [declined] = bench.ask(message)
    assert isinstance(declined, SubnetsDeclined)
    assert declined.subnets == message.subnets


def test_a_search_that_is_over_gets_no_answer(bench: Bench):
    bench.signals.halt("s1", "ended")
    assert bench.ask(evaluation(bench.checkpoint(), bench.dataset(), {})) == []


def test_cancelling_stops_an_evaluation_between_two_batches(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    seen = threading.Event()
    real = ActiveSubnet.logits
    batches = 0

    def logits(active, inputs):
        nonlocal batches
        batches += 1
        bench.signals.halt("s1", "ended")
        seen.wait(0.3)  # longer than the worker waits between two looks
        return real(active, inputs)

    monkeypatch.setattr(ActiveSubnet, "logits", logits)
    message = evaluation(bench.checkpoint(), bench.dataset(), {}, {"layer.0.ffn.width": 7})
    monkeypatch.setattr(bench.runtime._models, "_token_budget", 64)
    answers = bench.ask(message)
    assert [type(answer).__name__ for answer in answers] == ["SubnetsStarted"]
    assert batches == 1


def test_a_delivery_that_was_answered_is_not_measured_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    message = evaluation(bench.checkpoint(), bench.dataset(), {}, {"layer.0.ffn.width": 7})
    monkeypatch.setattr(
        bench.signals, "is_finished", lambda delivery: delivery == "s1/0/1/0", raising=True
    )
    result = bench.ask(message)[1]
    assert isinstance(result, SubnetsEvaluated)
    assert [outcome.number for outcome in result.outcomes] == [1]


def test_a_batch_that_a_worker_died_over_is_reported_subnet_by_subnet(bench: Bench):
    message = evaluation(bench.checkpoint(), bench.dataset(), {}, {"layer.0.ffn.width": 7})
    for number in range(2):
        bench.signals.begin(f"s1/{number}/1/0")
    _, first, second = bench.ask(message)
    assert isinstance(first, SubnetsEvaluated)
    assert isinstance(second, SubnetsEvaluated)
    assert [len(each.outcomes) for each in (first, second)] == [1, 1]


def test_what_a_worker_died_over_is_measured_without_shared_activations(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    asked: list[object] = []
    real = evaluator.measure

    def measure(*args, **how):
        asked.append(how["share"])
        return real(*args, **how)

    monkeypatch.setattr(evaluator, "measure", measure)
    message = evaluation(bench.checkpoint(), bench.dataset(), {}, {"layer.0.ffn.width": 7})
    bench.signals.begin("s1/1/1/0")
    bench.ask(message)
    assert sorted(asked) == [False, True]


def test_the_third_attempt_is_made_in_a_process_of_its_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    message = evaluation(bench.checkpoint(), bench.dataset(), {})
    expected = bench.ask(message)[1]
    apart = []
    real = isolation.measure_apart
    monkeypatch.setattr(
        "elasticnas.worker.subnet_batch.measure_apart",
        lambda *given: (apart.append(given), real(*given))[1],
    )
    for _ in range(2):
        bench.signals.begin("s2/0/1/0")
    found = bench.ask(message.model_copy(update={"search_id": "s2"}))[1]
    assert isinstance(expected, SubnetsEvaluated)
    assert isinstance(found, SubnetsEvaluated)
    assert len(apart) == 1
    assert found.outcomes[0].metrics == expected.outcomes[0].metrics


def test_a_worker_without_room_on_its_disk_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bench.runtime._models, "evaluator", full)
    result = bench.ask(evaluation(bench.checkpoint(), bench.dataset(), {}))[1]
    assert isinstance(result, SubnetsEvaluated)
    assert result.outcomes[0].problem is not None
    assert result.outcomes[0].problem.type == "/problems/storage-full"


def test_a_checkpoint_that_kills_whoever_reads_it_is_given_up(bench: Bench):
    digest = bench.checkpoint()
    for _ in range(3):
        bench.signals.begin("n1/inspection")
    [result] = bench.ask(InspectSupernet(supernet_id="n1", digest=digest))
    assert isinstance(result, SupernetInspected)
    assert result.problem is not None
    assert "workers died" in result.problem.detail
    [other] = bench.ask(InspectSupernet(supernet_id="n2", digest=digest))
    assert isinstance(other, SupernetInspected)
    assert other.report is not None


def test_a_front_is_measured_on_the_rows_set_aside(bench: Bench):
    message = evaluation(bench.checkpoint(), bench.dataset(), {}, {"layer.0.ffn.width": 7})
    parts = {
        part: under(message, split=RowSplit(share=0.25, part=part)).model_copy(
            update={"search_id": part}
        )
        for part in ("search", "verification")
    }
    answers = bench.ask(VerifySubnets(**dict(parts["verification"])))
    assert all(isinstance(each, SubnetsVerified) for each in answers)
    found = [verified for each in answers for verified in each.verified or ()]
    assert [each.rows for each in found] == [10, 10]
    searched = bench.ask(parts["verification"])[1]
    assert isinstance(searched, SubnetsEvaluated)
    for outcome, verified in zip(searched.outcomes, found, strict=True):
        assert outcome.metrics == {name: each.value for name, each in verified.metrics.items()}
    other = bench.ask(parts["search"])[1]
    assert isinstance(other, SubnetsEvaluated)
    assert [o.metrics for o in other.outcomes] != [o.metrics for o in searched.outcomes]
