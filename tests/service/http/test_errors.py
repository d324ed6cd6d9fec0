"""Every error is a problem document."""

from __future__ import annotations

import re

import pytest
from dramatiq.brokers.stub import StubBroker

from elasticnas.service.app import create_app
from elasticnas.service.http.problems import KINDS
from elasticnas.service.settings import ServiceSettings
from elasticnas.service.signals import LocalSignals
from tests.service.running import running_service, tar_of

MEDIA_TYPE = "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/v1/nothing", 404, "not-found"),
        ("GET", "/v1/searches/nope", 404, "not-found"),
        ("GET", "/v1/supernets/nope/space", 404, "not-found"),
        ("DELETE", "/v1/datasets/nope", 404, "not-found"),
        ("PUT", "/v1/searches", 405, "method-not-allowed"),
        ("GET", "/v1/searches?limit=0", 422, "invalid-request"),
    ],
)
def test_errors_are_problem_documents(light_service, method, path, status, kind):
    answer = light_service.client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == MEDIA_TYPE
    body = answer.json()
    assert body["type"] == f"/problems/{kind}"
    assert body["status"] == status
    assert body["instance"] == path.split("?")[0]
    assert body["title"]
    assert body["detail"]


def test_a_body_that_is_not_json_is_named_so(light_service):
    answer = light_service.client.post(
        "/v1/searches", content=b"{", headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422
    assert "not JSON" in answer.json()["detail"]


def test_every_mistake_is_listed_with_a_pointer_and_its_value(light_service):
    body = {"supernet_id": 5, "strategy": {"name": "tpe", "multivariate": "perhaps"}, "seed": -1}
    errors = light_service.client.post("/v1/searches", json=body).json()["errors"]
    assert {(error["pointer"], error.get("value")) for error in errors} == {
        ("/supernet_id", "5"),
        ("/dataset_id", None),
        ("/strategy/multivariate", "perhaps"),
        ("/seed", "-1"),
    }


def test_a_fault_of_the_server_tells_nothing_of_its_inside(light_service, monkeypatch):
    def broken(*_args, **_kwargs):
        raise RuntimeError("password=secret")

    monkeypatch.setattr("elasticnas.service.searches.repository.page", broken)
    answer = light_service.client.get("/v1/searches")
    assert answer.status_code == 500
    assert answer.json()["type"] == "/problems/internal-error"
    assert "secret" not in answer.text


def test_a_full_disk_is_507(light_service, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("elasticnas.service.supernets.registration.store_folder", full)
    answer = light_service.client.post(
        "/v1/supernets?wait=60", files={"archive": ("n.tar", tar_of({"base/x": "1"}))}
    )
    assert answer.status_code == 507
    assert light_service.get("/v1/supernets")["items"] == []


def test_a_json_body_beyond_the_limit_is_413(sqlite_url, tmp_path):
    with running_service(sqlite_url, tmp_path, max_json_bytes=100) as running:
        answer = running.client.post("/v1/searches", json={"supernet_id": "x" * 200})
        assert answer.status_code == 413
        assert answer.headers["content-type"] == MEDIA_TYPE


def test_the_types_of_problems_are_published(light_service):
    listed = light_service.get("/problems")
    assert {each["type"] for each in listed} == {f"/problems/{name}" for name in KINDS}
    for each in listed:
        assert light_service.get(each["type"]) == each


def test_openapi_describes_every_operation_and_its_problems(light_service):
    schema = light_service.get("/openapi.json")
    assert "Problem" in schema["components"]["schemas"]
    assert "HTTPValidationError" not in str(schema)
    for reference in re.findall(r"#/components/schemas/[A-Za-z0-9_]+", str(schema)):
        assert reference.rsplit("/", 1)[1] in schema["components"]["schemas"], reference
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
    assert light_service.client.get("/docs").status_code == 200


def test_creating_the_application_touches_nothing(tmp_path):
    broker = StubBroker()
    create_app(ServiceSettings(data_dir=tmp_path / "data"), broker, LocalSignals(broker))
    assert list(tmp_path.iterdir()) == []
