"""Races that a real worker runs, on a real small model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from elasticnas.api_schemas.messages import EvaluateSubnets, SubnetsEvaluated
from elasticnas.api_schemas.racing import Racing, Rival
from elasticnas.search.races.course import PILOTS, Course, pack, unpack
from elasticnas.worker.isolation import Measurement, loaded
from tests.worker.test_handlers import Bench, evaluation

ROWS = 100
PERFECT = Rival(number=7, hits=pack(np.ones(ROWS, dtype=bool)))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def race(bench: Bench) -> EvaluateSubnets:
    """The maximal subnet without a rival, a smaller one against a perfect rival."""
    rng = np.random.default_rng(0)
    message = evaluation(bench.checkpoint(), bench.dataset(ROWS), {}, {"layer.0.ffn.width": 7})
    first, second = message.subnets
    return message.model_copy(
        update={
            "racing": Racing(),
            "pilots": tuple(pack(rng.random(ROWS) < 0.7) for _ in range(PILOTS)),
            "rivals": {PERFECT.number: PERFECT.hits},
            "subnets": (first, second.model_copy(update={"rival": PERFECT.number})),
        }
    )


def test_who_has_no_rival_comes_back_with_hits_and_who_has_lost_without_metrics(
    bench: Bench, race: EvaluateSubnets
):
    [_, result] = bench.ask(race)
    assert isinstance(result, SubnetsEvaluated)
    free, beaten = result.outcomes
    assert free.metrics is not None
    assert free.hits is not None
    assert np.mean(unpack(free.hits)) == free.metrics["accuracy"]
    assert beaten.metrics is beaten.hits is beaten.problem is None
    assert beaten.given_up is not None
    assert beaten.given_up.rival == 7
    course = Course([unpack(pilot) for pilot in race.pilots])
    assert beaten.given_up.rows == course.laps[0] < ROWS


def test_before_there_is_a_course_every_row_is_measured(bench: Bench, race: EvaluateSubnets):
    first, second = race.subnets
    early = race.model_copy(
        update={
            "search_id": "s2",
            "pilots": (),
            "subnets": (first, second.model_copy(update={"rival": None})),
        }
    )
    [_, result] = bench.ask(early)
    assert isinstance(result, SubnetsEvaluated)
    assert all(outcome.hits is not None for outcome in result.outcomes)
    [_, raced] = bench.ask(race)
    assert isinstance(raced, SubnetsEvaluated)
    assert raced.outcomes[0].hits == result.outcomes[0].hits
    assert raced.outcomes[0].metrics == pytest.approx(result.outcomes[0].metrics)


def test_what_is_measured_apart_runs_the_same_race(
    bench: Bench, race: EvaluateSubnets, monkeypatch: pytest.MonkeyPatch
):
    """What the process of its own does, here in this one: that it starts is tested elsewhere."""
    [_, together] = bench.ask(race)
    asked: list[Measurement] = []
    monkeypatch.setattr(
        "elasticnas.worker.subnet_batch.measure_apart",
        lambda it, _: (asked.append(it), loaded(it)())[1],
    )
    for _ in range(2):
        bench.signals.begin("s2/1/1/0")
    alone = {"search_id": "s2", "subnets": race.subnets[1:]}
    [_, apart] = bench.ask(race.model_copy(update=alone))
    assert isinstance(together, SubnetsEvaluated)
    assert isinstance(apart, SubnetsEvaluated)
    assert len(asked) == 1
    assert apart.outcomes[0].given_up == together.outcomes[1].given_up is not None
