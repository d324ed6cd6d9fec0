"""How searches run: budgets, failures, cancelling, cached answers, and starting again."""

from __future__ import annotations

import time
from collections import Counter

import pytest
import sqlalchemy.exc

from elasticnas.api_schemas.problems import Problem
from elasticnas.service.searches import transaction
from tests.service.running import Running, running_service
from tests.service.stand_in import accuracy_of


def evaluations(running: Running, search_id: str, **query) -> list[dict]:
    return running.get(f"/v1/searches/{search_id}/evaluations", limit=1000, **query)["items"]


def front(running: Running, search_id: str) -> dict:
    return running.get(f"/v1/searches/{search_id}/front")


def essence(running: Running, search_id: str) -> tuple[list, list, float]:
    """What must not depend on how a search was run."""
    points = front(running, search_id)
    return (
        [(e["number"], e["subnet"], e["metrics"]) for e in evaluations(running, search_id)],
        [e["number"] for e in points["items"]],
        points["hypervolume"],
    )


def test_a_search_spends_exactly_its_budget(service):
    search = service.wait(service.search(budget={"evaluations": 30}))
    assert search["stop_reason"] == "evaluation_budget_spent"
    assert search["progress"]["completed"] == 30
    assert search["progress"]["fraction"] == 1.0
    assert search["progress"]["running"] == 0
    rows = evaluations(service, search["id"])
    assert [row["number"] for row in rows] == list(range(30))
    assert {row["state"] for row in rows} == {"completed"}
    assert [row["origin"] for row in rows[:4]] == ["maximal", "minimal", "heuristic", "strategy"]
    assert rows[0]["worker"] == "stand-in"


def test_the_front_is_what_no_evaluation_dominates(service):
    search = service.wait(service.search(budget={"evaluations": 40}))
    rows = evaluations(service, search["id"])
    points = [(row["metrics"]["accuracy"], row["cost"]["gflops"]) for row in rows]
    expected = {
        row["number"]
        for row, (a, g) in zip(rows, points, strict=True)
        if not any((x >= a and y <= g) and (x > a or y < g) for x, y in points)
    }
    found = front(service, search["id"])
    assert {item["number"] for item in found["items"]} == expected
    assert {row["number"] for row in rows if row["on_front"]} == expected
    assert search["front_size"] == len(expected)
    assert found["hypervolume"] == search["hypervolume"] > 0
    costs = [item["cost"]["gflops"] for item in found["items"]]
    assert costs == sorted(costs)
    assert search["best"]["metrics"]["accuracy"] == max(a for a, _ in points)


def test_initial_subnets_alone_when_the_budget_equals_their_number(service):
    given = [{"layer.0.heads": 6}, {"layer.1.heads": 6}, {"layer.2.heads": 6}]
    search = service.wait(service.search(initial_subnets=given, budget={"evaluations": 3}))
    rows = evaluations(service, search["id"])
    assert [row["origin"] for row in rows] == ["given"] * 3
    assert rows[0]["subnet"]["layer.0.heads"] == 6
    assert rows[0]["subnet"]["layer.1.heads"] == 12


def test_a_constraint_costs_no_evaluation(service):
    bound = {"cost": "gflops", "max": 0.06}
    search = service.wait(service.search(constraints=[bound]))
    assert all(row["cost"]["gflops"] <= 0.06 for row in evaluations(service, search["id"]))


def test_what_was_measured_before_is_answered_from_the_database(service):
    ids = {"supernet_id": service.supernet(), "dataset_id": service.dataset()}
    first = service.wait(service.search(**ids))
    assert len(service.worker.evaluated) == 24
    second = service.wait(service.search(**ids))
    assert len(service.worker.evaluated) == 24
    assert second["progress"]["cached"] == second["progress"]["completed"] == 24
    assert essence(service, first["id"]) == essence(service, second["id"])
    assert all(row["cached"] for row in evaluations(service, second["id"]))


def test_other_data_or_another_length_is_measured_anew(light_service):
    supernet = light_service.supernet()
    budget = {"evaluations": 3}
    light_service.wait(light_service.search(supernet_id=supernet, budget=budget))
    other_data = light_service.dataset(rows=6)
    for fields in ({"dataset_id": other_data}, {"dataset_id": other_data, "max_length": 32}):
        found = light_service.wait(
            light_service.search(supernet_id=supernet, budget=budget, **fields)
        )
        assert found["progress"]["cached"] == 0


def test_a_failed_evaluation_keeps_its_problem_and_the_search_goes_on(service):
    def metrics(subnet):
        if subnet["layer.0.heads"] == 9:
            raise RuntimeError("out of memory")
        return {"accuracy": accuracy_of(subnet)}

    service.worker.metrics = metrics
    search = service.wait(service.search())
    assert search["progress"]["failed"] > 0
    assert search["progress"]["completed"] + search["progress"]["failed"] == 24
    failed = evaluations(service, search["id"], state="failed")
    assert {row["subnet"]["layer.0.heads"] for row in failed} == {9}
    assert failed[0]["error"]["detail"] == "out of memory"
    assert failed[0]["metrics"] is None
    assert not any(row["on_front"] for row in failed)


def test_a_search_without_success_fails_early_with_the_workers_problem(service):
    service.worker.metrics = lambda _: 1 / 0
    search = service.wait(service.search(budget={"evaluations": 500}), "failed")
    assert search["stop_reason"] == "error"
    assert search["error"]["type"] == "/problems/every-evaluation-failed"
    assert "division by zero" in search["error"]["detail"]
    assert search["progress"]["failed"] < 20


@pytest.mark.parametrize("metrics", [{"f1": 0.5}, {}])
def test_a_result_without_the_searched_metric_is_a_failure(light_service, metrics):
    light_service.worker.metrics = lambda _: metrics
    search = light_service.wait(light_service.search(), "failed")
    assert "accuracy" in search["error"]["detail"]


def test_cancelling_keeps_what_is_recorded_and_drops_the_rest(service):
    service.worker.open.clear()
    search_id = service.search(budget={"evaluations": 500})
    service.until(lambda: service.get(f"/v1/searches/{search_id}")["progress"]["running"])
    answer = service.client.post(f"/v1/searches/{search_id}/cancel")
    assert answer.json()["state"] == "cancelled"
    assert answer.json()["stop_reason"] == "cancelled"
    service.worker.open.set()
    service.until(lambda: service.worker.evaluated)
    service.wait(service.search(budget={"evaluations": 3}))  # late results have been taken
    assert evaluations(service, search_id) == []
    assert service.get(f"/v1/searches/{search_id}")["state"] == "cancelled"
    assert service.client.post(f"/v1/searches/{search_id}/cancel").status_code == 200


def test_a_completed_search_cannot_be_cancelled(light_service):
    search_id = light_service.search(budget={"evaluations": 3})
    light_service.wait(search_id)
    answer = light_service.client.post(f"/v1/searches/{search_id}/cancel")
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/illegal-transition"


def test_only_a_search_that_has_ended_can_be_deleted(service):
    service.worker.open.clear()
    search_id = service.search()
    assert service.client.delete(f"/v1/searches/{search_id}").status_code == 409
    service.client.post(f"/v1/searches/{search_id}/cancel")
    assert service.client.delete(f"/v1/searches/{search_id}").status_code == 204
    assert service.client.get(f"/v1/searches/{search_id}").status_code == 404


def test_the_time_budget_ends_a_search_as_completed(service):
    service.worker.metrics = lambda s: (time.sleep(0.02), {"accuracy": accuracy_of(s)})[1]
    search_id = service.search(budget={"evaluations": 100_000, "seconds": 1.5})
    search = service.wait(search_id)
    assert search["stop_reason"] == "time_budget_spent"
    assert 3 < search["progress"]["completed"] < 1000
    assert search["progress"]["elapsed_seconds"] < 6
    assert {row["state"] for row in evaluations(service, search_id)} == {"completed"}


def test_an_exhausted_space_ends_the_search(light_service):
    report = light_service.worker.report
    light_service.worker.report = report.model_copy(
        update={
            "dimensions": tuple(
                d.model_copy(update={"choices": d.choices[: 2 if i < 3 else 1]})
                for i, d in enumerate(report.dimensions)
            )
        }
    )
    search = light_service.wait(light_service.search())
    assert search["stop_reason"] == "space_exhausted"
    assert search["progress"]["completed"] == 8


def test_messages_grow_to_about_two_seconds_of_work(light_service):
    light_service.worker.duration = 0.01
    light_service.wait(light_service.search(budget={"evaluations": 64}, parallel_evaluations=16))
    assert light_service.worker.batches[0] == 1
    assert max(light_service.worker.batches) > 1
    assert max(light_service.worker.batches) <= 8


@pytest.mark.parametrize(
    "strategy",
    [
        {"name": "nsga2", "population_size": 8},
        pytest.param({"name": "nsga3", "population_size": 8}, marks=pytest.mark.slow),
        pytest.param({"name": "tpe", "n_startup_trials": 6}, marks=pytest.mark.slow),
        {"name": "random"},
        {"name": "pareto"},
        pytest.param({"name": "linas", "population_size": 8}, marks=pytest.mark.slow),
        pytest.param({"name": "hill-climbing"}, marks=pytest.mark.slow),
    ],
    ids=lambda strategy: strategy["name"],
)
def test_a_restarted_search_ends_as_an_undisturbed_one(strategy, database_url, tmp_path):
    """The process goes away twice in mid-search, with everything that was in its memory."""
    fields = {"strategy": strategy, "budget": {"evaluations": 40}, "seed": 7}
    seen = 0
    with running_service(database_url, tmp_path) as running:
        ids = {"supernet_id": running.supernet(), "dataset_id": running.dataset()}
        search_id = running.search(**fields, **ids)
        cut(running, after=9)
        seen = len(recorded(running, search_id))
    assert 0 < seen < 40
    with running_service(database_url, tmp_path) as running:
        assert len(recorded(running, search_id)) >= seen
        cut(running, after=24)
    with running_service(database_url, tmp_path) as running:
        assert running.wait(search_id)["progress"]["completed"] == 40
        disturbed = essence(running, search_id)
        other_data = running.dataset(rows=8)  # nothing of it is answered from the database
        undisturbed = running.search(**fields, **(ids | {"dataset_id": other_data}))
        assert running.wait(undisturbed)["progress"]["cached"] == 0
        assert essence(running, undisturbed) == disturbed


def recorded(running: Running, search_id: str) -> list[dict]:
    return [e for e in evaluations(running, search_id) if e["finished_at"]]


def cut(running: Running, *, after: int) -> None:
    """Let this many evaluations through, then let the worker's results get lost."""
    through = running.worker.send

    def lose(result):
        if len(running.worker.evaluated) < after:
            through(result)

    running.worker.send = lose
    running.until(lambda: len(running.worker.evaluated) >= after)


def test_an_evaluation_whose_result_is_lost_is_sent_again(sqlite_url, tmp_path):
    with running_service(sqlite_url, tmp_path, evaluation_lease_seconds=0.2) as running:
        through, lost = running.worker.send, []

        def lose_once(result):
            if result.kind == "subnets_evaluated" and not lost:
                lost.append(result)
            else:
                through(result)

        running.worker.send = lose_once
        running.worker.heartbeat()
        search = running.wait(running.search())
        assert search["progress"]["completed"] == 24
        rows = evaluations(running, search["id"])
        assert {rows[o.number]["attempt"] for o in lost[0].outcomes} == {2}


def test_a_result_that_comes_twice_counts_once(service):
    through = service.worker.send
    service.worker.send = lambda result: (through(result), through(result))
    search = service.wait(service.search())
    assert search["progress"]["completed"] == 24
    assert search["progress"]["cached"] == 0


def test_an_error_in_one_search_fails_it_and_no_other(light_service, monkeypatch):
    bad = light_service.body(name="bad")
    good = light_service.body()
    real = transaction.begin

    def begin(session, row, active):
        if row.name == "bad":
            raise RuntimeError("a bug")
        real(session, row, active)

    monkeypatch.setattr(transaction, "begin", begin)
    bad_id = light_service.client.post("/v1/searches", json=bad).json()["id"]
    good_id = light_service.client.post("/v1/searches", json=good).json()["id"]
    failed = light_service.wait(bad_id, "failed")
    assert failed["error"]["type"] == "/problems/search-error"
    light_service.wait(good_id)


def test_a_transaction_that_fails_loses_nothing(light_service, monkeypatch):
    real, left = transaction.record, [3]

    def record(session, row, active, outcomes):
        real(session, row, active, outcomes)
        if left[0]:
            left[0] -= 1
            raise sqlalchemy.exc.OperationalError("commit", None, Exception("disk I/O error"))

    monkeypatch.setattr(transaction, "record", record)
    search = light_service.wait(light_service.search())
    assert left == [0]
    assert search["progress"]["completed"] == 24
    assert [e["number"] for e in evaluations(light_service, search["id"])] == list(range(24))


def test_evaluations_are_paged_by_number(service):
    search_id = service.search()
    service.wait(search_id)
    url, cursor, numbers = f"/v1/searches/{search_id}/evaluations", None, []
    while True:
        page = service.get(url, limit=10, **({"cursor": cursor} if cursor else {}))
        numbers += [item["number"] for item in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert numbers == list(range(24))


def test_a_worker_without_room_pauses_the_search_and_fails_nothing(service):
    full = Problem(type="/problems/storage-full", title="Full", status=507, detail="no room left")
    through, shown = service.worker.send, []

    def fill_up(result):
        if result.kind == "subnets_evaluated" and not shown:
            shown.append(result)
            outcomes = [
                o.model_copy(update={"problem": full, "metrics": None}) for o in result.outcomes
            ]
            result = result.model_copy(update={"outcomes": tuple(outcomes)})
        through(result)

    service.worker.send = fill_up
    search_id = service.search()
    paused = service.wait(search_id, "paused")
    assert paused["error"]["type"] == "/problems/storage-full"
    assert service.client.post(f"/v1/searches/{search_id}/resume").status_code == 200
    search = service.wait(search_id)
    assert search["progress"]["completed"] == 24
    assert search["progress"]["failed"] == 0
    assert search["error"] is None


def test_ten_searches_share_the_workers_fairly(light_service):
    """While all ten have work, none is far behind: room in the queue goes round."""
    light_service.worker.open.clear()
    ids = {"supernet_id": light_service.supernet()}
    searches = [
        light_service.search(
            **ids, dataset_id=light_service.dataset(rows=4 + i), budget={"evaluations": 40}
        )
        for i in range(10)
    ]
    light_service.worker.open.set()
    for search_id in searches:
        light_service.wait(search_id)
    order = [search_id for search_id, _ in light_service.worker.evaluated]
    assert len(order) == 400
    half = Counter(order[:200])
    assert set(half) == set(searches)
    assert max(half.values()) - min(half.values()) <= 12
