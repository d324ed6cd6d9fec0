"""HEAD answers as GET does, without a body."""

from __future__ import annotations

import pytest


@pytest.fixture
def search_id(light_service) -> str:
    found = light_service.search()
    light_service.wait(found)
    return found


@pytest.mark.parametrize(
    "path",
    [
        *("/healthz", "/readyz", "/openapi.json", "/docs", "/problems"),
        *("/v1/searches", "/v1/supernets", "/v1/datasets", "/v1/workers"),
        "/v1/searches/{}",
        "/v1/searches/{}/front",
        "/v1/searches/{}/front?format=csv",
        "/v1/searches/{}/evaluations",
        "/v1/searches/{}/evaluations/0",
        "/v1/searches/{}/points",
        "/v1/searches/{}/subnets/0/weights",
        "/v1/searches/nope",
        "/nothing",
    ],
)
def test_the_headers_are_those_of_get(light_service, search_id, path):
    path = path.format(search_id)
    light_service.until(lambda: light_service.client.get(path).status_code != 202)
    for encoding in ("identity", "gzip"):
        got = light_service.client.get(path, headers={"accept-encoding": encoding})
        head = light_service.client.head(path, headers={"accept-encoding": encoding})
        assert head.status_code == got.status_code
        assert head.content == b""
        assert head.headers == got.headers
        if "content-encoding" not in got.headers:
            assert int(head.headers["content-length"]) == len(got.content)


def test_a_range_is_for_get_alone(light_service, search_id):
    path = f"/v1/searches/{search_id}/subnets/0/weights"
    light_service.until(lambda: light_service.client.get(path).status_code == 200)
    head = light_service.client.head(path, headers={"range": "bytes=0-0"})
    assert head.status_code == 200
    assert head.headers["accept-ranges"] == "bytes"


def test_the_head_of_a_stream_ends(light_service):
    """The search goes on: its events would come for ever."""
    light_service.worker.open.clear()
    running = light_service.search()
    light_service.until(lambda: light_service.get(f"/v1/searches/{running}")["state"] == "running")
    head = light_service.client.head(f"/v1/searches/{running}/events")
    assert head.status_code == 200
    assert head.headers["content-type"].startswith("text/event-stream")
    watcher = light_service.client.app.state.service.watcher
    light_service.until(lambda: watcher.is_idle)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/searches", {"GET", "HEAD", "POST"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
        ("HEAD", "/v1/searches/x/pause", {"POST"}),
    ],
)
def test_405_says_what_is_allowed(light_service, method, path, allowed):
    answer = light_service.client.request(method, path)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == allowed
