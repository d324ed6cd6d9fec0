"""Pausing and resuming, and which transitions are legal, on both databases."""

from __future__ import annotations

import threading
import time

import httpx2
import pytest

from tests.service.running import running_service
from tests.service.searches.driving import (
    ask,
    done,
    flaky,
    move,
    read,
    slowly,
    states,
    undisturbed,
)
from tests.service.searches.test_coordinator import essence, evaluations


class TestPause:
    def test_what_runs_finishes_and_counts_and_nothing_new_begins(self, service):
        service.worker.open.clear()
        search_id = service.search()
        service.until(lambda: read(service, search_id)["progress"]["running"] == 2)
        assert move(service, search_id, "pause")["state"] == "paused"
        service.worker.open.set()
        done(service, search_id, 2)
        service.until(lambda: read(service, search_id)["progress"]["running"] == 0)
        service.until(lambda: service.worker.declined)  # what lay in the queue
        time.sleep(0.3)
        search = read(service, search_id)
        assert search["state"] == "paused"
        assert search["error"] is None
        assert len(service.worker.evaluated) == search["progress"]["completed"] == 2

    def test_a_resumed_search_ends_as_an_undisturbed_one(self, service):
        slowly(service)
        fields = {"budget": {"evaluations": 40}, "seed": 3}
        search_id = service.search(**fields)
        for count in (5, 20, 30):
            done(service, search_id, count)
            move(service, search_id, "pause")
            service.until(lambda: read(service, search_id)["progress"]["running"] == 0)
            move(service, search_id, "resume")
        service.wait(search_id)
        again = undisturbed(service, search_id, **fields)
        assert essence(service, search_id) == essence(service, again)

    def test_pausing_and_resuming_at_once_loses_nothing(self, service):
        slowly(service)
        search_id = service.search(budget={"evaluations": 150})
        for _ in range(10):
            move(service, search_id, "pause")
            move(service, search_id, "resume")
            time.sleep(0.02)
        assert service.wait(search_id)["progress"]["completed"] == 150
        assert [e["number"] for e in evaluations(service, search_id)] == list(range(150))

    def test_a_search_can_be_paused_before_anything_is_evaluated(self, service):
        service.worker.open.clear()
        search_id = service.search()
        move(service, search_id, "pause")
        assert read(service, search_id)["progress"]["completed"] == 0
        service.worker.open.set()
        move(service, search_id, "resume")
        assert service.wait(search_id)["progress"]["completed"] == 24

    def test_the_clock_of_a_paused_search_stands_still(self, light_service):
        slowly(light_service)
        search_id = light_service.search(budget={"evaluations": 100_000, "seconds": 2.0})
        done(light_service, search_id, 3)
        move(light_service, search_id, "pause")
        light_service.until(lambda: read(light_service, search_id)["progress"]["running"] == 0)
        before = read(light_service, search_id)["progress"]["elapsed_seconds"]
        time.sleep(1.2)
        search = read(light_service, search_id)
        assert search["state"] == "paused"
        assert search["progress"]["elapsed_seconds"] == before < 2.0
        move(light_service, search_id, "resume")
        search = light_service.wait(search_id)
        assert search["stop_reason"] == "time_budget_spent"
        assert search["progress"]["elapsed_seconds"] < 3.1

    def test_answers_from_the_database_wait_too(self, light_service):
        first = light_service.wait(light_service.search(budget={"evaluations": 100}))
        ids = {name: first[name] for name in ("supernet_id", "dataset_id")}
        light_service.worker.open.clear()
        # The first subnets are new and keep a worker busy; all that follows is known already.
        given = [{"layer.0.rank": 4, "layer.1.rank": 2}, {"layer.0.rank": 2, "layer.1.rank": 4}]
        search_id = light_service.search(**ids, initial_subnets=given, budget={"evaluations": 60})
        light_service.until(lambda: read(light_service, search_id)["progress"]["running"])
        move(light_service, search_id, "pause")
        time.sleep(0.1)
        before = read(light_service, search_id)["progress"]["completed"]
        light_service.worker.open.set()
        light_service.until(lambda: read(light_service, search_id)["progress"]["running"] == 0)
        time.sleep(0.3)
        assert read(light_service, search_id)["progress"]["completed"] <= before + 2
        move(light_service, search_id, "resume")
        assert light_service.wait(search_id)["progress"]["completed"] == 60

    def test_a_paused_search_survives_a_restart_and_stays_paused(self, database_url, tmp_path):
        fields = {"budget": {"evaluations": 30}, "seed": 2}
        with running_service(database_url, tmp_path) as running:
            slowly(running)
            search_id = running.search(**fields)
            done(running, search_id, 8)
            move(running, search_id, "pause")
        with running_service(database_url, tmp_path) as running:
            slowly(running)
            time.sleep(0.3)
            assert read(running, search_id)["state"] == "paused"
            assert running.worker.evaluated == []
            move(running, search_id, "resume")
            running.wait(search_id)
            again = undisturbed(running, search_id, **fields)
            assert essence(running, search_id) == essence(running, again)

    def test_cancelling_a_paused_search_ends_it(self, service):
        slowly(service)
        search_id = service.search(budget={"evaluations": 500})
        done(service, search_id, 3)
        move(service, search_id, "pause")
        assert move(service, search_id, "cancel")["state"] == "cancelled"
        time.sleep(0.2)
        assert all(e["state"] == "completed" for e in evaluations(service, search_id))
        assert states(service, search_id) == ["running", "paused", "cancelled"]


class TestLegality:
    @pytest.mark.parametrize(
        ("what", "state"),
        [
            ("pause", "completed"),
            ("resume", "completed"),
            ("cancel", "completed"),
            ("pause", "cancelled"),
            ("resume", "cancelled"),
            ("resume", "running"),
        ],
    )
    def test_an_illegal_transition_is_a_409_that_names_the_state(self, light_service, what, state):
        if state == "completed":
            search_id = light_service.search(budget={"evaluations": 3})
            light_service.wait(search_id)
        else:
            body = light_service.body()
            light_service.worker.open.clear()
            search_id = light_service.client.post("/v1/searches", json=body).json()["id"]
            light_service.until(lambda: read(light_service, search_id)["state"] == "running")
            if state == "cancelled":
                move(light_service, search_id, "cancel")
        answer = ask(light_service, search_id, what)
        assert answer.status_code == 409
        assert answer.json()["type"] == "/problems/illegal-transition"
        assert answer.json()["search_state"] == state
        assert state in answer.json()["detail"]

    def test_pausing_and_cancelling_twice_is_no_error_and_one_event(self, service):
        slowly(service)
        search_id = service.search(budget={"evaluations": 500})
        done(service, search_id, 2)
        for what in ("pause", "pause", "cancel", "cancel"):
            move(service, search_id, what)
        assert states(service, search_id) == ["running", "paused", "cancelled"]

    @pytest.mark.parametrize("what", ["pause", "resume", "cancel", "retry", "extend"])
    def test_a_search_that_is_not_there_is_404(self, light_service, what):
        body = {"evaluations": 1} if what == "extend" else {}
        assert ask(light_service, "nose", what, **body).status_code == 404

    def test_of_many_requests_at_once_exactly_one_wins(self, service):
        broken = flaky(service)
        search_id = service.search(seed=1)
        service.wait(search_id)
        broken[0] = False
        service.worker.open.clear()
        answers: list[int] = []
        begin = threading.Barrier(8)

        def retry() -> None:
            begin.wait()
            answers.append(ask(service, search_id, "retry").status_code)

        threads = [threading.Thread(target=retry) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == [200] + [409] * 7
        service.worker.open.set()
        assert service.wait(search_id)["progress"]["completed"] == 24

    def test_of_cancel_and_completion_one_wins_and_the_other_is_told(self, service):
        for _ in range(3):
            search_id = service.search(budget={"evaluations": 4})
            answers: list[httpx2.Response] = []
            threads = [
                threading.Thread(
                    target=lambda s=search_id, a=answers, w=what: a.append(ask(service, s, w))
                )
                for what in ("pause", "cancel", "pause", "cancel")
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            final = service.wait(search_id, "cancelled", "completed")["state"]
            seen = states(service, search_id)
            assert seen.count("cancelled") + seen.count("completed") == 1
            assert seen.count("paused") <= 1
            for answer in answers:
                assert answer.status_code in (200, 409)
                if answer.status_code == 409:
                    assert answer.json()["search_state"] == final
