"""The lines of the log that go with a fault."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from elasticnas.api_schemas.messages import SubnetsEvaluated
from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.measuring import measure as evaluating
from elasticnas.worker.failures import as_problem
from elasticnas.worker.log_tail import TAIL, LogTail
from tests.worker.test_handlers import Bench, evaluation

log = logging.getLogger("elasticnas.tests")


@pytest.fixture
def tail() -> Iterator[LogTail]:
    tail = LogTail(characters=100)
    yield tail
    logging.getLogger().removeHandler(tail)


def test_it_is_what_this_thread_logged_over_this_work(tail: LogTail):
    log.warning("before")
    with tail.recording():
        log.warning("ours, %d", 1)
        other = threading.Thread(target=log.warning, args=("another's",))
        other.start()
        other.join()
        said = tail.read()
        assert said is not None
        assert said.endswith("WARNING elasticnas.tests: ours, 1")
        assert "\n" not in said
    assert tail.read() is None
    with tail.recording():
        assert tail.read() is None


def test_the_oldest_lines_make_room(tail: LogTail):
    with tail.recording():
        for number in range(50):
            log.warning("line %d", number)
        log.warning("x" * 500)
        assert tail.read() == "x" * 100
        log.warning("the last")
        said = tail.read()
    assert said is not None
    assert said.endswith("the last")
    assert len(said) <= 100


def test_a_fault_has_it_and_what_the_user_can_mend_has_not():
    with TAIL.recording():
        log.warning("the device is hot")
        fault = as_problem(RuntimeError("it broke"), "The evaluation failed", "evaluation-failed")
        mend = as_problem(InputError("no", field="rows"), "It cannot be used", "invalid-rows")
    assert "the device is hot" in fault.model_dump()["log_tail"]
    assert "it broke" not in fault.model_dump()["log_tail"]
    assert "log_tail" not in mend.model_dump()


def test_an_evaluation_that_fails_sends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def activate(*_):
        log.warning("about to break")
        raise RuntimeError("it broke")

    monkeypatch.setattr(evaluating, "activate", activate)
    bench = Bench(tmp_path)
    result = bench.ask(evaluation(bench.checkpoint(), bench.dataset(), {}))[-1]
    bench.close()
    assert isinstance(result, SubnetsEvaluated)
    problem = result.outcomes[0].problem
    assert problem is not None
    assert "about to break" in problem.model_dump()["log_tail"]
