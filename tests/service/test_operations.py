"""Health, readiness and the workers heard from."""

from __future__ import annotations

from service.database import Database
from service.settings import ServiceSettings
from tests.service.running import running_service


def test_a_running_service_is_healthy_and_ready(service):
    assert service.get("/healthz") == {"status": "ok"}
    assert service.get("/readyz") == {"status": "ok"}


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


def test_a_silent_worker_is_not_alive(sqlite_url, tmp_path):
    with running_service(sqlite_url, tmp_path, worker_silence_seconds=0.1) as running:
        running.worker.heartbeat()
        running.until(lambda: running.get("/v1/workers")["items"])
        running.until(lambda: not running.get("/v1/workers")["items"][0]["alive"])


def test_settings_come_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("ELASTICNAS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ELASTICNAS_SERVER_PATHS", '["/srv/models"]')
    settings = ServiceSettings()
    assert settings.resolved_database_url == f"sqlite:///{tmp_path}/elasticnas.db"
    assert [str(path) for path in settings.server_paths] == ["/srv/models"]


def test_every_setting_is_described():
    for name, field in ServiceSettings.model_fields.items():
        assert field.description, name
