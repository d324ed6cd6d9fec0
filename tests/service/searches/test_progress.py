"""How long a search will still take, and its place in the queue."""

from __future__ import annotations

import numpy as np

from elasticnas.api_schemas.searches import Budget
from elasticnas.service.searches import views
from elasticnas.service.searches.tables import SearchRow
from tests.service.running import running_service


def row(completed: int, elapsed: float) -> SearchRow:
    counters = dict.fromkeys(("given_up", "failed", "running", "cached"), 0)
    return SearchRow(state="running", completed=completed, elapsed_seconds=elapsed, **counters)


def test_of_random_results_nine_in_ten_searches_end_within_the_range():
    rng = np.random.default_rng(0)
    held = 0
    for gaps in rng.exponential(2.0, size=(400, 60)):
        progress = views.progress(row(20, float(gaps[:20].sum())), Budget(evaluations=60))
        assert progress.eta_low_seconds is not None
        assert progress.eta_high_seconds is not None
        held += progress.eta_low_seconds <= gaps[20:].sum() <= progress.eta_high_seconds
    assert 0.86 < held / 400 < 0.94


def test_a_time_budget_ends_the_range_too():
    progress = views.progress(row(20, 40.0), Budget(evaluations=60, seconds=50.0))
    assert progress.eta_seconds == progress.eta_high_seconds == 10.0


def test_nothing_is_said_before_the_first_result():
    progress = views.progress(row(0, 3.0), Budget(evaluations=60))
    assert (progress.eta_low_seconds, progress.eta_high_seconds) == (None, None)


def test_a_queued_search_knows_its_place(sqlite_url, tmp_path):
    with running_service(sqlite_url, tmp_path) as running:
        body = running.body(budget={"evaluations": 3})
        over = running.client.post("/v1/searches", json=body).json()["id"]
        running.wait(over)
    with running_service(sqlite_url, tmp_path, coordinate=False) as running:
        ids = [running.client.post("/v1/searches", json=body).json()["id"] for _ in range(3)]
        places = [running.get(f"/v1/searches/{each}")["queue_position"] for each in ids]
        assert places == [1, 2, 3]
        running.client.post(f"/v1/searches/{ids[0]}/cancel")
        assert running.get(f"/v1/searches/{ids[2]}")["queue_position"] == 2
        assert running.get(f"/v1/searches/{over}")["queue_position"] is None
