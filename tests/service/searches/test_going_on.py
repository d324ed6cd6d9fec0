"""Extending and retrying searches, and the rules that end them, on both databases."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from elasticnas.service.searches import transaction
from tests.service.running import running_service
from tests.service.searches.driving import (
    ask,
    done,
    flaky,
    move,
    quiet,
    read,
    slowly,
    states,
    undisturbed,
)
from tests.service.searches.test_coordinator import essence, evaluations
from tests.service.stand_in import accuracy_of


class TestExtend:
    @pytest.mark.parametrize(
        "strategy",
        [{"name": "nsga2", "population_size": 8}, {"name": "tpe", "n_startup_trials": 6}],
        ids=lambda strategy: strategy["name"],
    )
    def test_a_completed_search_ends_as_one_that_had_the_budget_from_the_start(
        self, service, strategy
    ):
        search_id = service.search(budget={"evaluations": 17}, strategy=strategy, seed=4)
        service.wait(search_id)
        search = move(service, search_id, "extend", evaluations=15)
        assert search["state"] in ("queued", "running")
        assert search["stop_reason"] is search["finished_at"] is None
        assert search["budget"]["evaluations"] == 32
        assert service.wait(search_id)["stop_reason"] == "evaluation_budget_spent"
        again = undisturbed(
            service, search_id, budget={"evaluations": 32}, strategy=strategy, seed=4
        )
        assert essence(service, search_id) == essence(service, again)

    def test_a_cancelled_search_fills_its_gaps_and_goes_on(self, service):
        slowly(service)
        search_id = service.search(budget={"evaluations": 30}, seed=4)
        done(service, search_id, 11)
        move(service, search_id, "cancel")
        move(service, search_id, "extend", evaluations=10)
        service.wait(search_id)
        again = undisturbed(service, search_id, budget={"evaluations": 40}, seed=4)
        assert essence(service, search_id) == essence(service, again)

    def test_a_search_that_failed_on_an_error_goes_on(self, service, monkeypatch):
        real, broken = transaction.record, [True]

        def record(session, row, active, outcomes):
            if broken[0] and row.completed > 6:
                raise RuntimeError("a bug")
            real(session, row, active, outcomes)

        monkeypatch.setattr(transaction, "record", record)
        search_id = service.search(budget={"evaluations": 20}, seed=4)
        assert service.wait(search_id, "failed")["error"]["type"] == "/problems/search-error"
        broken[0] = False
        assert move(service, search_id, "extend", evaluations=5)["error"] is None
        assert service.wait(search_id)["error"] is None
        again = undisturbed(service, search_id, budget={"evaluations": 25}, seed=4)
        assert essence(service, search_id) == essence(service, again)

    def test_a_running_search_goes_on_and_evaluates_nothing_twice(self, service):
        slowly(service)
        search_id = service.search(budget={"evaluations": 20}, seed=4)
        done(service, search_id, 5)
        assert move(service, search_id, "extend", evaluations=20)["state"] == "running"
        service.wait(search_id)
        counts = Counter(service.worker.evaluated)
        assert set(counts.values()) == {1}
        again = undisturbed(service, search_id, budget={"evaluations": 40}, seed=4)
        assert essence(service, search_id) == essence(service, again)

    def test_more_time_lets_a_search_go_on_that_had_spent_its_own(self, service):
        slowly(service)
        search_id = service.search(budget={"evaluations": 100_000, "seconds": 0.4})
        first = service.wait(search_id)
        assert first["stop_reason"] == "time_budget_spent"
        move(service, search_id, "extend", seconds=2.0)
        second = service.wait(search_id)
        assert second["progress"]["completed"] > first["progress"]["completed"]
        assert second["budget"]["seconds"] == pytest.approx(2.4)

    def test_a_search_on_a_plateau_goes_on_without_that_rule(self, service):
        plateau = {"evaluations": 10, "min_gain": 0.5}
        search_id = service.search(budget={"evaluations": 100}, plateau=plateau)
        first = service.wait(search_id)
        assert first["stop_reason"] == "hypervolume_plateau"
        assert first["progress"]["completed"] < 40
        assert move(service, search_id, "extend", evaluations=1)["plateau"] is None
        second = service.wait(search_id)
        assert second["stop_reason"] == "evaluation_budget_spent"
        assert second["progress"]["completed"] == 101

    @pytest.mark.parametrize(
        ("more", "field", "remedy"),
        [
            ({"seconds": 5}, "/seconds", "leave it out"),
            ({"evaluations": 1_000_000}, "/evaluations", "add at most 999997"),
            ({}, "", "above 0"),
            ({"evaluations": -1}, "/evaluations", "greater than or equal to 0"),
        ],
    )
    def test_what_cannot_be_added_is_refused_by_name(self, light_service, more, field, remedy):
        search_id = light_service.search(budget={"evaluations": 3})
        light_service.wait(search_id)
        answer = light_service.client.post(f"/v1/searches/{search_id}/extend", json=more)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == field
        assert remedy in answer.json()["detail"]
        assert read(light_service, search_id)["state"] == "completed"

    def test_seconds_beyond_what_a_budget_may_have_are_refused(self, light_service):
        search_id = light_service.search(budget={"evaluations": 3, "seconds": 9e8})
        light_service.wait(search_id)
        answer = ask(light_service, search_id, "extend", seconds=9e8)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/seconds"
        assert "add at most 100000000" in answer.json()["detail"]
        assert read(light_service, search_id)["budget"]["seconds"] == 9e8
        moved = move(light_service, search_id, "extend", seconds=1e8)
        assert moved["budget"]["seconds"] == 1e9

    def test_extending_a_search_that_failed_too_often_points_to_retry(self, light_service):
        light_service.worker.metrics = lambda _: 1 / 0
        search_id = light_service.search()
        light_service.wait(search_id, "failed")
        answer = ask(light_service, search_id, "extend", evaluations=5)
        assert answer.status_code == 409
        assert answer.json()["search_state"] == "failed"
        assert "retry" in answer.json()["detail"]


class TestRetry:
    def test_what_failed_is_measured_again_and_counts(self, service):
        broken = flaky(service)
        search_id = service.search(budget={"evaluations": 30}, seed=1)
        first = service.wait(search_id)
        failed = {e["number"] for e in evaluations(service, search_id, state="failed")}
        assert failed
        broken[0] = False
        measured = len(service.worker.evaluated)
        retried = move(service, search_id, "retry")
        assert retried["progress"]["failed"] == 0
        second = service.wait(search_id)
        assert second["progress"]["completed"] == 30
        assert {n for _, n in service.worker.evaluated[measured:]} == failed
        rows = {e["number"]: e for e in evaluations(service, search_id)}
        assert {n for n, e in rows.items() if e["attempt"] > 1} == failed
        assert all(e["error"] is None for e in rows.values())
        assert second["hypervolume"] >= first["hypervolume"]
        assert states(service, search_id)[-3:] == ["queued", "running", "completed"]

    def test_the_failures_of_a_running_search_are_retried_while_it_runs(self, service):
        broken = flaky(service)
        search_id = service.search(budget={"evaluations": 60}, seed=1)
        service.until(lambda: read(service, search_id)["progress"]["failed"])
        failed = {e["number"] for e in evaluations(service, search_id, state="failed")}
        broken[0] = False
        move(service, search_id, "retry")
        search = service.wait(search_id)
        assert search["progress"]["completed"] + search["progress"]["failed"] == 60
        # A failure that a worker was just reporting is not among those that were retried.
        rows = evaluations(service, search_id)
        assert {e["state"] for e in rows if e["number"] in failed} == {"completed"}

    def test_a_paused_search_retries_once_it_is_resumed(self, service):
        broken = flaky(service)
        slow = service.worker.metrics
        service.worker.metrics = lambda s: (time.sleep(0.01), slow(s))[1]
        search_id = service.search(budget={"evaluations": 40}, seed=1)
        service.until(lambda: read(service, search_id)["progress"]["failed"])
        move(service, search_id, "pause")
        quiet(service)  # a failure that is still on its way would count after the retry
        broken[0] = False
        assert move(service, search_id, "retry")["state"] == "paused"
        measured = len(service.worker.evaluated)
        time.sleep(0.2)
        assert len(service.worker.evaluated) == measured
        move(service, search_id, "resume")
        assert service.wait(search_id)["progress"]["completed"] == 40

    def test_a_search_without_success_goes_on_after_a_retry(self, service):
        service.worker.metrics = lambda _: 1 / 0
        search_id = service.search()
        service.wait(search_id, "failed")
        quiet(service)  # a failure that is still on its way would count after the retry
        service.worker.metrics = lambda s: {"accuracy": accuracy_of(s)}
        move(service, search_id, "retry")
        assert service.wait(search_id)["progress"]["completed"] == 24

    def test_without_failures_there_is_nothing_to_retry(self, service):
        search_id = service.search(budget={"evaluations": 3})
        service.wait(search_id)
        answer = ask(service, search_id, "retry")
        assert answer.status_code == 409
        assert answer.json()["search_state"] == "completed"
        assert read(service, search_id)["state"] == "completed"


class TestFailureLimit:
    def test_one_failure_too_many_fails_the_search(self, service):
        flaky(service)
        search_id = service.search(budget={"evaluations": 200}, max_failures=3)
        search = service.wait(search_id, "failed")
        assert search["stop_reason"] == "failure_limit"
        assert search["error"]["type"] == "/problems/failure-limit"
        assert search["progress"]["failed"] == 4
        assert 0 < search["progress"]["completed"] < 196
        assert search["progress"]["running"] == 0

    def test_as_many_failures_as_allowed_are_no_reason_to_end(self, service):
        failing = iter([True, False, True, False, False])

        def metrics(subnet: dict[str, int]) -> dict[str, float]:
            if next(failing, False):
                raise RuntimeError("once")
            return {"accuracy": accuracy_of(subnet)}

        service.worker.metrics = metrics
        search = service.wait(service.search(max_failures=2))
        assert search["progress"]["failed"] == 2

    def test_a_retry_starts_the_count_anew(self, service):
        broken = flaky(service)
        search_id = service.search(budget={"evaluations": 40}, max_failures=3)
        service.wait(search_id, "failed")
        assert ask(service, search_id, "extend", evaluations=5).status_code == 409
        broken[0] = False
        move(service, search_id, "retry")
        search = service.wait(search_id)
        assert search["progress"]["completed"] == 40
        assert search["error"] is None


class TestPlateau:
    def test_a_restarted_search_stops_at_the_same_number(self, database_url, tmp_path):
        fields = {
            "budget": {"evaluations": 300},
            "plateau": {"evaluations": 20, "min_gain": 0.01},
            "seed": 5,
        }
        with running_service(database_url, tmp_path) as running:
            slowly(running)
            search_id = running.search(**fields)
            done(running, search_id, 15)
        with running_service(database_url, tmp_path) as running:
            slowly(running, 0.002)
            search = running.wait(search_id)
            assert search["stop_reason"] == "hypervolume_plateau"
            assert search["plateau"] == fields["plateau"]
            assert 20 < search["progress"]["completed"] < 250
            again = undisturbed(running, search_id, **fields)
            assert essence(running, search_id) == essence(running, again)
