"""Subnets of real small models, lap by lap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from elasticnas.api_schemas.racing import Racing, Rival
from elasticnas.search.races.course import PILOTS, Course, pack, unpack
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.forward.activation import ActiveSubnet
from elasticnas.supernet.forward.prefixes import PrefixCache
from elasticnas.supernet.measuring.examples import LabelledTexts, TokenizedExamples, tokenize
from elasticnas.supernet.measuring.measure import (
    EvaluationUnwantedError,
    Lap,
    Measured,
    laps_of,
    measure,
)
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import TEXT_CLASSIFICATION
from tests.supernet.measured import evaluate
from tests.supernet.test_activation import BERT_FIRST, FAMILY_NAMES, random_subnets
from tests.supernet.tiny import sentences, write_checkpoint

ROWS = 130
RACING = Racing(confidence=0.9)


def opened(folder: Path, *options: str) -> tuple[Supernet, TokenizedExamples]:
    supernet = read_supernet(write_checkpoint(folder, *options))
    texts = LabelledTexts(sentences(ROWS), None, [i % 2 for i in range(ROWS)])
    return supernet, tokenize(
        texts,
        load_tokenizer(supernet),
        supernet.family,
        task=TEXT_CLASSIFICATION,
        max_length=48,
    )


def course() -> Course:
    rng = np.random.default_rng(0)
    return Course([rng.random(ROWS) < 0.7 for _ in range(PILOTS)])


def laps(
    supernet: Supernet,
    rows: TokenizedExamples,
    course: Course | None,
    cache: PrefixCache | None = None,
) -> list[Lap]:
    return laps_of(rows, course, supernet, token_budget=256, cache=cache)


def race(
    supernet: Supernet,
    subnet: SubnetConfig,
    run: list[Lap],
    rows: TokenizedExamples,
    course: Course,
    rival: Rival | None,
) -> Measured:
    task = TEXT_CLASSIFICATION
    return measure(supernet, subnet, run, rows.labels, task, RACING, course=course, rival=rival)


@pytest.mark.parametrize("model_type", FAMILY_NAMES)
def test_laps_give_the_metrics_and_hits_of_all_rows_at_once(tmp_path: Path, model_type: str):
    supernet, rows = opened(tmp_path, model_type)
    subnet, laid = supernet.space.heuristic, course()
    run = laps(supernet, rows, laid)
    assert len(run) == len(laid.laps) > 2
    assert np.concatenate([lap.rows for lap in run]).tolist() == laid.order.tolist()
    by_laps = measure(supernet, subnet, run, rows.labels, TEXT_CLASSIFICATION, RACING, course=laid)
    [whole] = laps(supernet, rows, None)
    at_once = measure(supernet, subnet, [whole], rows.labels, TEXT_CLASSIFICATION, RACING)
    plain = evaluate(supernet, subnet, whole.batches, rows.labels, TEXT_CLASSIFICATION)
    assert by_laps == at_once
    assert by_laps.metrics == pytest.approx(plain)
    assert by_laps.hits is not None
    assert np.mean(unpack(by_laps.hits)) == pytest.approx(plain["accuracy"])
    without = measure(supernet, subnet, [whole], rows.labels, TEXT_CLASSIFICATION)
    assert without.metrics == plain
    assert without.hits is None


def test_a_subnet_that_cannot_win_is_given_up_after_one_lap_and_runs_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    supernet, rows = opened(tmp_path)
    laid = course()
    run = laps(supernet, rows, laid)
    measured: list[int] = []
    real = ActiveSubnet.logits

    def logits(active, inputs):
        found = real(active, inputs)
        measured.append(len(found))
        return found

    monkeypatch.setattr(ActiveSubnet, "logits", logits)
    # It gets every row right, so nothing can be gained on it.
    rival = Rival(number=3, hits=pack(np.ones(ROWS, dtype=bool)))
    found = race(supernet, supernet.space.minimal, run, rows, laid, rival)
    assert found.metrics is None
    assert found.hits is None
    assert found.given_up is not None
    assert found.given_up.rows == sum(measured) == laid.laps[0]
    assert (found.given_up.rival, found.given_up.bound) == (3, 1.0)
    assert found.given_up.chance == 0.0
    assert found.given_up.estimate < 1.0


def test_a_subnet_ahead_of_its_rival_runs_to_the_end(tmp_path: Path):
    supernet, rows = opened(tmp_path)
    laid = course()
    rival = Rival(number=3, hits=pack(np.zeros(ROWS, dtype=bool)))
    run = laps(supernet, rows, laid)
    found = race(supernet, supernet.space.minimal, run, rows, laid, rival)
    assert found.given_up is None
    assert found.metrics is not None
    assert found.metrics["accuracy"] > 0


@pytest.mark.parametrize("model_type", BERT_FIRST)
def test_laps_share_first_layers_also_with_subnets_that_were_given_up(
    tmp_path: Path, model_type: str
):
    supernet, rows = opened(tmp_path, model_type)
    laid = course()
    cache = PrefixCache(2**30)
    sharing, alone = laps(supernet, rows, laid, cache), laps(supernet, rows, laid)
    perfect = Rival(number=3, hits=pack(np.ones(ROWS, dtype=bool)))
    for subnet in random_subnets(supernet, 6):
        for rival in (perfect, None):
            shared, plain = (
                race(supernet, subnet, run, rows, laid, rival) for run in (sharing, alone)
            )
            assert shared == plain
    first, *_, last = (lap.prefixes for lap in sharing)
    assert first is not None
    assert last is not None
    # The same subnet once more starts behind the layers that the first lap of it left.
    with first.shared(subnet) as splice:
        assert splice.first > 0
    assert cache.held_bytes == sum(lap.prefixes.held_bytes for lap in sharing if lap.prefixes)


def test_nobody_waits_for_a_race_any_more(tmp_path: Path):
    supernet, rows = opened(tmp_path)
    asked: list[bool] = []

    def is_unwanted() -> bool:
        asked.append(True)
        return len(asked) > 4

    with pytest.raises(EvaluationUnwantedError):
        measure(
            supernet,
            supernet.space.minimal,
            laps(supernet, rows, course()),
            rows.labels,
            TEXT_CLASSIFICATION,
            RACING,
            is_unwanted=is_unwanted,
        )
    assert len(asked) == 5
