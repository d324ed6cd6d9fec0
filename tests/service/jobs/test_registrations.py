"""Registrations of super-networks as jobs."""

from __future__ import annotations

from typing import Any

import pytest

from elasticnas.service.http.problems import problem
from tests.event_stream import kept, parse
from tests.service.running import Running, running_service, tar_of

ARCHIVE = {"archive": ("net.tar", tar_of({"base/x": "1"}))}


def register(service: Running, name: str = "net") -> str:
    answer = service.client.post("/v1/supernets", files=ARCHIVE, data={"name": name})
    return str(answer.json()["id"])


def until(service: Running, job: str, state: str) -> dict[str, Any]:
    service.until(lambda: service.get(f"/v1/jobs/{job}")["state"] == state)
    return service.get(f"/v1/jobs/{job}")


def told(service: Running, job: str, after: int = 0) -> list[tuple[int, str, Any]]:
    """Number, state and problem of the events beyond a number, of a job that is over."""
    answer = service.client.get(f"/v1/jobs/{job}/events", params={"last_event_id": after})
    events = kept(parse(answer.text.splitlines()))
    return [(int(each.id), each.data["state"], each.data["problem"]) for each in events]


def test_a_registration_is_a_job_until_its_checkpoint_is_read(database_url, tmp_path):
    with running_service(database_url, tmp_path, worker_runs=False) as service:
        job = register(service)
        found = service.get(f"/v1/jobs/{job}")
        assert (found["kind"], found["state"], found["name"]) == ("registration", "running", "net")
        assert found["waiting_for"].startswith("a worker")
        assert (found["recipe"], found["dataset_id"], found["supernet_id"]) == (None, None, job)
        service.worker.start()
        over = until(service, job, "completed")
        [step] = over["steps"]
        assert (step["name"], step["progress"]["done"], step["attempt"]) == ("read", 1, 1)
        assert over["finished_at"] >= over["started_at"] >= over["created_at"]
        assert [each[:2] for each in told(service, job)] == [(1, "running"), (2, "completed")]
        events = f"/v1/jobs/{job}/events"
        assert service.client.get(events, headers={"Last-Event-ID": "2"}).status_code == 204
        service.worker.stop()


def test_a_registration_that_failed_is_read_again_from_what_was_uploaded(light_service: Running):
    light_service.worker.rejection = problem("invalid-checkpoint", "no config.json")
    job = register(light_service)
    assert until(light_service, job, "failed")["problem"]["detail"] == "no config.json"
    light_service.worker.rejection = None
    retried = light_service.client.post(f"/v1/jobs/{job}/retry")
    assert (retried.status_code, retried.json()["problem"]) == (200, None)
    over = until(light_service, job, "completed")
    assert over["steps"][0]["attempt"] == 2
    assert light_service.get(f"/v1/supernets/{job}")["state"] == "ready"
    states = [(number, state) for number, state, _ in told(light_service, job)]
    assert states == [(1, "running"), (2, "failed"), (3, "running"), (4, "completed")]
    assert told(light_service, job, after=3) == [(4, "completed", None)]
    assert light_service.client.post(f"/v1/jobs/{job}/retry").status_code == 409


@pytest.mark.parametrize(("method", "path"), [("post", "/cancel"), ("delete", "")])
def test_a_registration_goes_with_its_super_network(light_service: Running, method, path):
    job = light_service.supernet()
    answer = light_service.client.request(method, f"/v1/jobs/{job}{path}")
    assert (answer.status_code, f"/v1/supernets/{job}" in answer.text) == (409, True)
    light_service.client.delete(f"/v1/supernets/{job}")
    assert light_service.client.get(f"/v1/jobs/{job}").status_code == 404


def test_registrations_are_listed_among_jobs_page_by_page(light_service: Running):
    jobs = [light_service.supernet() for _ in range(5)]
    light_service.worker.rejection = problem("invalid-checkpoint", "no")
    jobs.append(register(light_service))
    until(light_service, jobs[-1], "failed")

    def listed(**query: Any) -> list[str]:
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = light_service.get("/v1/jobs", limit=2, **query, **cursor)
            found += [item["id"] for item in page["items"]]
            if page["next_cursor"] is None:
                return found
            cursor = {"cursor": page["next_cursor"]}

    assert listed() == listed(kind="registration") == jobs[::-1]
    assert listed(kind="training") == listed(state="queued") == []
    assert listed(state="failed") == jobs[-1:]
    assert listed(state="completed", kind="registration") == jobs[-2::-1]
