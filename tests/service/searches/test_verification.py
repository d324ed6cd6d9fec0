"""A front measured once more on rows that the search never saw."""

from __future__ import annotations

import csv

import pytest

from elasticnas.api_schemas.messages import SubnetsVerified
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.verification import Verified
from elasticnas.service.searches import active
from tests.service.running import running_service
from tests.service.stand_in import interval


def test_a_front_is_measured_on_the_rows_set_aside_before_the_search_is_over(service):
    search_id = service.search(dataset_id=service.dataset(rows=20), verify=0.3)
    search = service.wait(search_id)
    assert search["verify"] == 0.3
    front = service.get(f"/v1/searches/{search_id}/front")["items"]
    assert {split.part for split in service.worker.splits} == {"search"}
    [message] = service.worker.verifications
    assert message.conditions.split.part == "verification"
    assert message.conditions.split.share == 0.3
    assert {item.number for item in message.subnets} == {point["number"] for point in front}
    for point in front:
        found = point["verified"]["metrics"]["accuracy"]
        assert found["low"] < found["value"] < found["high"]
        assert point["verified"]["versus_maximal"]["accuracy"]["value"] == 0.0
    others = service.get(f"/v1/searches/{search_id}/evaluations", limit=100)["items"]
    assert all((e["verified"] is not None) == e["on_front"] for e in others)


def test_another_dataset_verifies_as_well(light_service):
    other = light_service.dataset(rows=10)
    search_id = light_service.search(verify_dataset_id=other)
    assert light_service.wait(search_id)["verify_dataset_id"] == other
    [message] = light_service.worker.verifications
    assert message.conditions.dataset == light_service.get(f"/v1/datasets/{other}")["digest"]
    assert message.conditions.split is None
    assert light_service.worker.splits == [None] * len(light_service.worker.splits)
    assert light_service.client.delete(f"/v1/datasets/{other}").status_code == 409


def test_csv_has_the_verified_metrics_with_their_intervals(light_service):
    search_id = light_service.search(dataset_id=light_service.dataset(rows=20), verify=0.5)
    light_service.wait(search_id)
    text = light_service.client.get(f"/v1/searches/{search_id}/front?format=csv").text
    rows = list(csv.DictReader(text.splitlines()))
    for row in rows:
        low, value, high = (float(row[f"verified_accuracy{end}"]) for end in ("_low", "", "_high"))
        assert low < value < high
        assert float(row["verified_f1"]) == pytest.approx(float(row["f1"]))


def test_what_was_measured_on_all_rows_is_no_answer_for_a_part_of_them(light_service):
    ids = {
        "supernet_id": light_service.supernet(),
        "dataset_id": light_service.dataset(rows=20),
        "budget": {"evaluations": 5},
    }
    light_service.wait(light_service.search(**ids))
    cached = [
        light_service.wait(light_service.search(**ids, **verify))["progress"]["cached"]
        for verify in ({"verify": 0.5}, {"verify": 0.25}, {"verify": 0.5}, {})
    ]
    assert cached == [0, 0, 5, 5]


def test_a_verification_whose_message_is_lost_is_asked_for_again(sqlite_url, tmp_path):
    with running_service(sqlite_url, tmp_path, evaluation_lease_seconds=0.3) as running:
        running.worker.lose_verifications = 1
        running.worker.heartbeat()
        search_id = running.search(dataset_id=running.dataset(rows=20), verify=0.5)
        running.wait(search_id)
        assert len(running.worker.verifications) == 2


def test_a_verification_goes_on_after_a_restart(database_url, tmp_path):
    with running_service(database_url, tmp_path) as running:
        running.worker.lose_verifications = 1
        search_id = running.search(dataset_id=running.dataset(rows=20), verify=0.5)
        running.until(lambda: running.worker.verifications)
        assert running.get(f"/v1/searches/{search_id}")["state"] == "running"
    with running_service(database_url, tmp_path) as running:
        running.wait(search_id)
        assert len(running.worker.verifications) == 1


def failing(running, status: int = 422) -> Problem:
    running.worker.verification_problem = Problem(
        type="/problems/verification-failed", title="No", status=status, detail="out of luck"
    )
    return running.worker.verification_problem


def test_a_verification_that_fails_says_why_and_can_be_retried(service):
    failing(service)
    search_id = service.search(dataset_id=service.dataset(rows=20), verify=0.5)
    service.wait(search_id)
    url = f"/v1/searches/{search_id}"
    for point in service.get(f"{url}/front")["items"]:
        assert point["state"] == "completed"
        assert point["verified"] is None
        assert point["error"]["detail"] == "out of luck"
    before = len(service.worker.evaluated)
    service.worker.verification_problem = None
    assert service.client.post(f"{url}/retry").json()["state"] in ("queued", "running")
    service.wait(search_id, "queued", "running", "completed")
    service.until(lambda: service.get(url)["state"] == "completed")
    for point in service.get(f"{url}/front")["items"]:
        assert point["verified"] is not None
        assert point["error"] is None
    assert len(service.worker.evaluated) == before
    again = service.client.post(f"{url}/retry")
    assert again.status_code == 409
    assert "verification" in again.json()["detail"]


def test_a_fault_that_may_pass_is_tried_again_by_itself(light_service, monkeypatch):
    monkeypatch.setattr(active, "VERIFY_AGAIN_SECONDS", 0.05)
    failing(light_service, status=500)
    search_id = light_service.search(dataset_id=light_service.dataset(rows=20), verify=0.5)
    light_service.until(lambda: light_service.worker.verifications)
    light_service.worker.verification_problem = None
    light_service.wait(search_id)
    front = light_service.get(f"/v1/searches/{search_id}/front")["items"]
    assert all(point["verified"] for point in front)


def test_a_fault_that_does_not_pass_ends_after_three_attempts(light_service, monkeypatch):
    monkeypatch.setattr(active, "VERIFY_AGAIN_SECONDS", 0.05)
    failing(light_service, status=500)
    search_id = light_service.search(dataset_id=light_service.dataset(rows=20), verify=0.5)
    light_service.wait(search_id, timeout=40)
    attempts = [
        item.attempt
        for message in light_service.worker.verifications
        for item in message.subnets
        if item.number == light_service.worker.verifications[0].subnets[0].number
    ]
    assert attempts == [1, 2, 3]


def test_a_verification_without_room_on_a_disk_pauses_the_search(light_service):
    light_service.worker.verification_problem = Problem(
        type="/problems/storage-full", title="Full", status=507, detail="no room"
    )
    search_id = light_service.search(dataset_id=light_service.dataset(rows=20), verify=0.5)
    paused = light_service.wait(search_id, "paused")
    assert paused["error"]["detail"] == "no room"
    light_service.worker.verification_problem = None
    light_service.client.post(f"/v1/searches/{search_id}/resume")
    light_service.wait(search_id)
    front = light_service.get(f"/v1/searches/{search_id}/front")["items"]
    assert all(point["verified"] for point in front)


def test_a_verification_declined_by_mistake_is_sent_again(light_service, monkeypatch):
    """The search was resumed while the broker did not hear it: workers think that it is paused."""
    service = light_service.client.app.state.service
    deaf = [True]
    release = service.queue.release
    monkeypatch.setattr(service.queue, "release", lambda each: deaf[0] or release(each))
    light_service.worker.lose_verifications = 1
    search_id = light_service.search(dataset_id=light_service.dataset(rows=20), verify=0.5)
    light_service.until(lambda: light_service.worker.verifications)
    light_service.client.post(f"/v1/searches/{search_id}/pause")
    light_service.client.post(f"/v1/searches/{search_id}/resume")
    light_service.until(lambda: light_service.worker.declined)
    deaf[0] = False
    light_service.wait(search_id)
    front = light_service.get(f"/v1/searches/{search_id}/front")["items"]
    assert all(point["verified"] for point in front)


def test_a_verification_in_another_precision_is_no_result(light_service):
    light_service.worker.lose_verifications = 1
    search_id = light_service.search(dataset_id=light_service.dataset(rows=20), verify=0.5)
    light_service.until(lambda: light_service.worker.verifications)
    [message] = light_service.worker.verifications
    numbers = tuple(item.number for item in message.subnets)
    wrong = tuple(
        Verified(rows=2, metrics={"accuracy": interval(0.0)}, versus_maximal={}) for _ in numbers
    )
    for precision in (None, Precision.BFLOAT16):
        light_service.worker.send(
            SubnetsVerified(
                search_id=search_id, numbers=numbers, precision=precision, verified=wrong
            )
        )
    light_service.wait(search_id)
    front = light_service.get(f"/v1/searches/{search_id}/front")["items"]
    assert all(point["verified"]["metrics"]["accuracy"]["value"] > 0.1 for point in front)


def test_what_a_worker_is_verifying_for_another_coordinator_is_not_sent_again():
    again = active.ActiveSearch.__new__(active.ActiveSearch)
    again.id, again.to_verify, again.trained = "s", {}, {}
    again.verify_next({1: (None, 1), 2: (None, 1)})
    assert again.unverified("g", 900.0, {"s/1/verification"}) == [2]
    assert again.unverified("g", 900.0, {"s/1"}) == [1, 2]
    again.unsend_verifications([1])
    assert again.unverified("g", 900.0, {"s/1/verification"}) == [1, 2]


def test_a_verification_can_be_cancelled(light_service):
    light_service.worker.lose_verifications = 1
    search_id = light_service.search(dataset_id=light_service.dataset(rows=20), verify=0.5)
    light_service.until(lambda: light_service.worker.verifications)
    url = f"/v1/searches/{search_id}"
    assert light_service.client.post(f"{url}/cancel").json()["state"] == "cancelled"
    assert light_service.get(url)["progress"]["completed"] == 24


def test_only_new_members_of_the_front_are_measured_when_a_search_is_extended(light_service):
    search_id = light_service.search(dataset_id=light_service.dataset(rows=20), verify=0.5)
    light_service.wait(search_id)
    before = {item.number for item in light_service.worker.verifications[0].subnets}
    light_service.client.post(f"/v1/searches/{search_id}/extend", json={"evaluations": 40})
    light_service.wait(search_id, "running", "completed")
    light_service.wait(search_id)
    later = {
        item.number
        for message in light_service.worker.verifications[1:]
        for item in message.subnets
    }
    assert not before & later
    front = light_service.get(f"/v1/searches/{search_id}/front")["items"]
    assert all(point["verified"] for point in front)


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"verify": 0.0}, "/verify"),
        ({"verify": 1.0}, "/verify"),
        ({"verify": 0.01}, "/verify"),
        ({"verify_dataset_id": "nope"}, "/verify_dataset_id"),
        ({"verify": 0.5, "verify_dataset_id": "x"}, "/verify_dataset_id"),
    ],
)
def test_what_cannot_verify_is_refused(light_service, fields, pointer):
    body = light_service.body(dataset_id=light_service.dataset(rows=20), **fields)
    answer = light_service.client.post("/v1/searches", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_the_searched_rows_cannot_verify(light_service):
    dataset = light_service.dataset(rows=20)
    body = light_service.body(dataset_id=dataset, verify_dataset_id=dataset)
    answer = light_service.client.post("/v1/searches", json=body)
    assert answer.status_code == 422
    assert "other rows" in answer.json()["detail"]
