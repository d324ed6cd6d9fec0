"""One guard around every measurement: memory, time, halts, and processes that hang."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path

import numpy as np
import psutil
import pytest

from elasticnas.api_schemas.messages import (
    EvaluateSubnets,
    SubnetsDeclined,
    SubnetsEvaluated,
    SubnetsVerified,
    VerifySubnets,
    WorkerAlive,
)
from elasticnas.api_schemas.verification import RowSplit, Verified
from elasticnas.supernet.forward.activation import ActiveSubnet
from elasticnas.worker import halts, isolation
from elasticnas.worker.guard import time_limit
from elasticnas.worker.handlers import verify
from elasticnas.worker.model_cache import dtype_of
from tests.supernet.tiny import write_checkpoint
from tests.worker.test_adversity import SmallDevice
from tests.worker.test_handlers import Bench, evaluation, under

SCRIPT = Path(__file__).parent / "hanging.py"
SMALL = {"layer.0.ffn.width": 7}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def verification(bench: Bench, *subnets: dict[str, int], **fields) -> VerifySubnets:
    message: EvaluateSubnets = evaluation(bench.checkpoint(), bench.dataset(), *subnets)
    split = fields.pop("split", RowSplit(share=0.5, part="verification"))
    return VerifySubnets(**{**dict(under(message, split=split)), **fields})


def verified(answers: list[object]) -> list[Verified | None]:
    """What each subnet of a message came to, by number."""
    found: dict[int, Verified | None] = {}
    for answer in answers:
        assert isinstance(answer, SubnetsVerified)
        (number,) = answer.numbers
        found[number] = None if answer.verified is None else answer.verified[0]
    return [found[number] for number in sorted(found)]


def test_a_verification_halves_its_batches_when_memory_runs_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    message = verification(bench, {}, SMALL)
    undisturbed = verified(bench.ask(message))
    device = SmallDevice(monkeypatch, tokens=100)
    disturbed = verified(bench.ask(message.model_copy(update={"search_id": "s2"})))
    assert None not in undisturbed
    assert disturbed == undisturbed
    assert device.batches[0] > 100 >= device.batches[-1]


def test_the_resamples_behind_the_intervals_are_sent_along(bench: Bench):
    [answer] = bench.ask(verification(bench, SMALL))
    assert isinstance(answer, SubnetsVerified)
    [found] = answer.verified or ()
    [resamples] = answer.resamples or ()
    assert set(resamples) == set(found.metrics)
    for name, packed in resamples.items():
        values = np.frombuffer(base64.b64decode(packed), dtype="<f4")
        assert len(values) == 1000
        low, high = np.quantile(values, (0.025, 0.975))
        expected = (found.metrics[name].low, found.metrics[name].high)
        assert (low, high) == pytest.approx(expected, abs=1e-6)


def test_a_cancelled_verification_ends_between_two_batches(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    batches = 0
    real = ActiveSubnet.logits

    def logits(active, inputs):
        nonlocal batches
        batches += 1
        bench.signals.halt("s1", "ended")
        time.sleep(0.3)  # longer than the worker waits between two looks
        return real(active, inputs)

    monkeypatch.setattr(ActiveSubnet, "logits", logits)
    monkeypatch.setattr(bench.runtime._models, "_token_budget", 64)
    assert bench.ask(verification(bench, {}, SMALL)) == []
    assert batches == 1
    assert bench.ask(verification(bench, {})) == []
    assert batches == 1


def test_a_paused_verification_keeps_what_it_has(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(halts, "LOOK_SECONDS", -1.0)
    real = verify.verified

    def compare(*found):
        bench.signals.halt("s1", "paused")
        return real(*found)

    monkeypatch.setattr(verify, "verified", compare)
    message = verification(bench, {}, SMALL)
    done, declined = bench.ask(message)
    assert len(verified([done])) == 1
    assert done.precision == message.conditions.precision
    assert isinstance(declined, SubnetsDeclined)
    assert declined.verifies
    assert declined.subnets == message.subnets[1:]
    [again] = bench.ask(message.model_copy(update={"search_id": "s1", "revision": 1}))
    assert isinstance(again, SubnetsDeclined)
    assert again.subnets == message.subnets


def test_one_front_member_that_fails_does_not_take_the_others_with_it(bench: Bench):
    nothing, good = verified(bench.ask(verification(bench, {"nose": 1}, {})))
    assert nothing is None
    assert good is not None


@pytest.mark.slow
def test_the_third_attempt_at_a_verification_is_made_in_a_process_of_its_own(bench: Bench):
    message = verification(bench, SMALL)
    expected = verified(bench.ask(message))
    for _ in range(2):
        bench.signals.begin("s2/0/1/0/verification")
    assert verified(bench.ask(message.model_copy(update={"search_id": "s2"}))) == expected


def test_what_succeeds_again_and_again_is_not_given_up(bench: Bench):
    """A count of deaths: the worker that finished has not died."""
    message = verification(bench, SMALL)
    for _ in range(5):
        (found,) = verified(bench.ask(message))
        assert found is not None


@pytest.mark.parametrize("verifies", [False, True])
def test_what_takes_longer_than_its_time_limit_fails_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verifies: bool
):
    bench = Bench(tmp_path, evaluation_timeout_seconds=0.05, token_budget=64)
    try:
        real = ActiveSubnet.logits

        def logits(active, inputs):
            time.sleep(0.06)
            return real(active, inputs)

        monkeypatch.setattr(ActiveSubnet, "logits", logits)
        monkeypatch.setattr(bench.runtime._tools.guard, "is_stuck", lambda: False)
        message = verification(bench, SMALL, **({} if verifies else {"split": None}))
        if verifies:
            [result] = bench.ask(message)
            assert isinstance(result, SubnetsVerified)
            problem = result.problem
        else:
            asked = EvaluateSubnets(**dict(message))
            result = bench.ask(asked)[1]
            assert isinstance(result, SubnetsEvaluated)
            problem = result.outcomes[0].problem
        assert problem is not None
        assert problem.type == "/problems/evaluation-timeout"
        assert "time limit of 0.05 seconds" in problem.detail
        assert "EVALUATION_TIMEOUT_SECONDS" in problem.detail
    finally:
        bench.close()


def test_the_time_limit_grows_with_the_data_unless_it_is_set():
    assert time_limit(None, tokens=0) == 600
    assert time_limit(None, tokens=872 * 64) == pytest.approx(600 + 0.02 * 872 * 64)
    assert time_limit(5.0, tokens=10**9) == 5.0


def test_a_worker_that_hangs_says_that_it_lives_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its message goes to another worker then, and its process ends."""
    release = threading.Event()
    bench = Bench(tmp_path, evaluation_timeout_seconds=0.1, heartbeat_seconds=0.02)
    message = evaluation(bench.checkpoint(), bench.dataset(), {})
    real = ActiveSubnet.logits

    def logits(active, inputs):
        release.wait()
        return real(active, inputs)

    monkeypatch.setattr(ActiveSubnet, "logits", logits)
    asking = threading.Thread(target=bench.ask, args=(message,))
    asking.start()
    try:
        while bench.runtime.is_alive:
            time.sleep(0.01)
        heard = sum(isinstance(each, WorkerAlive) for each in bench.results)
        time.sleep(0.2)
        assert sum(isinstance(each, WorkerAlive) for each in bench.results) == heard
        bench.runtime.stop()  # does not wait for what never ends
    finally:
        release.set()
        asking.join()
        bench.collector.stop()


@pytest.fixture
def apart(tmp_path: Path, bench: Bench):
    """Run the script that measures apart what hangs, in one of several ways."""
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    rows = bench.blobs.folder / bench.dataset()

    def run(how: str) -> tuple[subprocess.CompletedProcess[str], int]:
        environment = {**os.environ, "HOW": how, "PID_FILE": str(tmp_path / "pid")}
        found = subprocess.run(
            [sys.executable, str(SCRIPT), str(checkpoint), str(rows)],
            env={**environment, "PYTHONPATH": str(SCRIPT.parents[2])},
            capture_output=True,
            text=True,
            check=False,
        )
        return found, int((tmp_path / "pid").read_text())

    return run


@pytest.mark.slow
@pytest.mark.parametrize("how", ["hangs", "hangs and ignores signals"])
def test_a_process_of_its_own_that_hangs_is_killed_with_all_that_it_started(apart, how: str):
    if how == "hangs and ignores signals" and sys.platform == "darwin":
        pytest.skip("the fault handler cannot be told to be silent there")
    found, _ = apart(how)
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    assert told["left_running"] is False
    assert told["problem"]["type"] == "/problems/evaluation-timeout"
    if how == "hangs":
        assert "hanging.py" in told["problem"]["traceback"]  # where it hung


@pytest.mark.slow
def test_a_process_of_its_own_that_nobody_waits_for_is_killed(apart):
    found, pid = apart("hangs unwanted")
    assert "EvaluationUnwantedError" in found.stderr
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)  # a kill takes effect a moment later


def test_a_process_of_its_own_that_hangs_as_it_starts_is_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(isolation, "LOADING_SECONDS", 0.05)
    message = evaluation(bench.checkpoint(), bench.dataset(), {})
    for _ in range(2):
        bench.signals.begin("s1/0/1/0")
    resource_tracker.ensure_running()  # multiprocessing's own, which stays
    before = set(psutil.Process().children())
    result = bench.ask(message)[1]
    assert isinstance(result, SubnetsEvaluated)
    assert result.outcomes[0].problem is not None
    assert result.outcomes[0].problem.type == "/problems/evaluation-timeout"
    assert set(psutil.Process().children()) <= before


def test_a_worker_measures_in_the_precision_asked_for(bench: Bench):
    message = evaluation(bench.checkpoint(), bench.dataset(), SMALL)
    found = {}
    for precision in bench.runtime._settings.precisions():  # not every CPU computes in bfloat16
        asked = under(message, precision=precision).model_copy(update={"search_id": precision})
        result = bench.ask(asked)[1]
        assert isinstance(result, SubnetsEvaluated)
        found[precision] = result.outcomes[0]
        assert result.outcomes[0].precision is precision
        held = bench.runtime._models.supernet(message.conditions.supernet, precision).supernet
        assert {each.dtype for each in held.model.parameters()} == {dtype_of(precision)}
    assert all(each.metrics is not None for each in found.values())
