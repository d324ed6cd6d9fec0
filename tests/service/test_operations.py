"""Health, readiness and the workers heard from."""

from __future__ import annotations

import json
import re

import pytest

from elasticnas.api_schemas.workers import WorkerMemory
from elasticnas.service.database import Database
from elasticnas.service.settings import ServiceSettings
from elasticnas.tasks import METRICS, TASKS, TEXT_CLASSIFICATION, Metric
from elasticnas.tasks.metrics import share_error
from tests.service.running import running_service, tar_of


def test_a_running_service_is_healthy_and_ready(service):
    assert service.get("/healthz") == {"status": "ok"}
    assert service.get("/readyz") == {"status": "ok", "worker": None}


def test_without_its_database_it_is_alive_but_not_ready(light_service, monkeypatch):
    def away(_self):
        raise ConnectionError

    monkeypatch.setattr(Database, "check", away)
    assert light_service.client.get("/healthz").status_code == 200
    answer = light_service.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["type"] == "/problems/not-ready"


def test_workers_are_listed_from_their_heartbeats(service):
    assert service.get("/v1/workers")["items"] == []
    service.worker.heartbeat()
    service.until(lambda: service.get("/v1/workers")["items"])
    (worker,) = service.get("/v1/workers")["items"]
    assert worker["name"] == "stand-in"
    assert worker["alive"] is True
    service.worker.heartbeat(stopping=True)
    service.until(lambda: not service.get("/v1/workers")["items"][0]["alive"])


def test_a_worker_says_what_it_runs_on_and_how_busy_it_is(service):
    memory = WorkerMemory(
        resident_bytes=3 * 2**30,
        limit_bytes=8 * 2**30,
        device_used_bytes=2**40,
        device_total_bytes=2**41,
    )
    service.worker.heartbeat(device_name="NVIDIA H200", busy=0.75, memory=memory)
    service.worker.heartbeat(name="earlier")
    service.until(lambda: len(service.get("/v1/workers")["items"]) == 2)
    read = {each["name"]: each for each in service.get("/v1/workers")["items"]}
    said = read["stand-in"]
    assert (said["device_name"], said["busy"]) == ("NVIDIA H200", 0.75)
    assert said["memory"] == memory.model_dump()
    nothing = read["earlier"]
    assert (nothing["device_name"], nothing["busy"], nothing["memory"]) == (None, None, None)
    assert nothing["at"] == []


def test_a_silent_worker_is_not_alive(sqlite_url, tmp_path):
    with running_service(sqlite_url, tmp_path, worker_silence_seconds=0.1) as running:
        running.worker.heartbeat()
        running.until(lambda: running.get("/v1/workers")["items"])
        running.until(lambda: not running.get("/v1/workers")["items"][0]["alive"])


def test_without_a_coordinator_everything_says_so(database_url, tmp_path):
    """And nothing is said of workers, whom nobody hears then."""
    with running_service(database_url, tmp_path) as running:
        running.worker.heartbeat()
        running.until(lambda: running.get("/v1/workers")["items"])
        body = running.body()
    with running_service(database_url, tmp_path, coordinate=False) as running:
        answer = running.client.get("/readyz")
        assert answer.status_code == 503
        assert "elasticnas coordinate" in answer.json()["detail"]
        assert [each["alive"] for each in running.get("/v1/workers")["items"]] == [None]
        search_id = running.search(**body)
        assert running.get(f"/v1/searches/{search_id}")["waiting_for"].startswith("a coordinator")
        assert all(
            s["waiting_for"].startswith("a coordinator")
            for s in running.get("/v1/searches")["items"]
        )


@pytest.mark.parametrize(
    ("options", "lacking"),
    [({"coordinate": False}, "a coordinator"), ({"worker_runs": False}, "a worker")],
    ids=["coordinator", "worker"],
)
def test_a_registration_says_which_process_is_missing(
    sqlite_url, tmp_path, monkeypatch, options, lacking
):
    """And is answered long before its patience is over."""
    monkeypatch.setattr("elasticnas.service.supernets.registration.PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr("elasticnas.service.supernets.registration.LOOK_SECONDS", 0.1)
    with running_service(
        sqlite_url, tmp_path, inspection_timeout_seconds=600, **options
    ) as running:
        archive = tar_of({"base/x": "1"})
        answer = running.client.post(
            "/v1/supernets?wait=60", files={"archive": ("net.tar", archive)}
        )
        assert answer.status_code == 202
        assert answer.json()["waiting_for"].startswith(lacking)
        assert running.get(answer.headers["location"])["waiting_for"].startswith(lacking)


def test_a_running_search_says_that_there_is_no_worker(service):
    body = service.body()
    service.worker.open.clear()
    search_id = service.search(**body)
    assert service.get(f"/v1/searches/{search_id}")["waiting_for"].startswith("a worker")
    service.worker.heartbeat()
    service.until(lambda: service.get(f"/v1/searches/{search_id}")["waiting_for"] is None)
    service.worker.open.set()
    service.wait(search_id)


def test_settings_come_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("ELASTICNAS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ELASTICNAS_SERVER_PATHS", '["/srv/models"]')
    settings = ServiceSettings()
    assert settings.resolved_database_url == f"sqlite:///{tmp_path}/elasticnas.db"
    assert [str(path) for path in settings.server_paths] == ["/srv/models"]


def test_every_setting_is_described():
    for name, field in ServiceSettings.model_fields.items():
        assert field.description, name


def test_openapi_names_the_metrics_and_tasks_that_are_registered_by_then(
    light_service, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(TASKS._values, "added-task", TEXT_CLASSIFICATION)
    monkeypatch.setitem(METRICS._values, "calmness", Metric("calmness", 0.0, 9.0, share_error))
    schema = light_service.get("/openapi.json")
    front = schema["paths"]["/v1/searches/{search_id}/front"]["get"]["parameters"]
    assert {"max_calmness", "min_accuracy", "max_gflops"} <= {each["name"] for each in front}
    [form] = [
        each for name, each in schema["components"]["schemas"].items() if "create_dataset" in name
    ]
    assert "added-task" in form["properties"]["task"]["anyOf"][0]["enum"]
    assert "calmness" in form["properties"]["metric"]["anyOf"][0]["enum"]


def test_openapi_refers_to_nothing_that_it_lacks(light_service):
    schema = light_service.get("/openapi.json")
    known = {f"#/components/schemas/{name}" for name in schema["components"]["schemas"]}
    assert set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(schema))) <= known
