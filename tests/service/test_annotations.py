"""Names, notes and tags, and the request of a search as it was given, on both databases."""

from __future__ import annotations

import pytest

from elasticnas.service.searches.tables import SearchRow
from tests.service.running import Running

KINDS = ("searches", "supernets", "datasets")


def things(running: Running) -> dict[str, str]:
    """The address of one thing of each kind."""
    body = running.body(name="first", budget={"evaluations": 3})
    search = running.client.post("/v1/searches", json=body).json()["id"]
    ids = {"searches": search, "supernets": body["supernet_id"], "datasets": body["dataset_id"]}
    return {kind: f"/v1/{kind}/{each}" for kind, each in ids.items()}


def test_name_notes_and_tags_are_changed_one_by_one(service: Running):
    for path in things(service).values():
        before = service.get(path)
        assert (before["notes"], before["tags"]) == (None, [])
        patched = service.client.patch(path, json={"name": "née Müller", "tags": [" a b ", "ä"]})
        assert patched.status_code == 200, patched.text
        assert service.client.patch(path, json={"notes": "two\nlines"}).status_code == 200
        after = service.get(path)
        assert after["name"] == "née Müller"
        assert after["notes"] == "two\nlines"
        assert after["tags"] == ["a b", "ä"]
        kept = {"name", "notes", "tags", "state", "progress", "started_at", "finished_at"}
        changing = {"best", "hypervolume", "front_size", "stop_reason", "precision", "waiting_for"}
        changing |= {"queue_position"}
        for field in before.keys() - kept - changing:
            assert after[field] == before[field], field
        assert service.client.patch(path, json={"notes": None, "tags": []}).status_code == 200
        assert (service.get(path)["notes"], service.get(path)["tags"]) == (None, [])


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"tags": ["a", "a"]}, "/tags"),
        ({"tags": ["a,b"]}, "/tags/0"),
        ({"tags": ["a\nb"]}, "/tags/0"),
        ({"tags": [" "]}, "/tags/0"),
        ({"tags": ["t" * 51]}, "/tags/0"),
        ({"tags": [str(i) for i in range(21)]}, "/tags"),
        ({"tags": None}, "/tags"),
        ({"notes": "n" * 10_001}, "/notes"),
        ({"notes": "a\0b"}, "/notes"),
        ({"state": "completed"}, "/state"),
    ],
)
def test_what_cannot_be_written_is_refused_and_changes_nothing(
    light_service: Running, body, pointer
):
    path = things(light_service)["datasets"]
    answer = light_service.client.patch(path, json={"name": "other", **body})
    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]
    assert light_service.get(path)["name"] == "toy"


def test_a_search_may_lose_its_name_and_other_things_may_not(light_service: Running):
    paths = things(light_service)
    assert light_service.client.patch(paths["searches"], json={"name": None}).json()["name"] is None
    for kind in ("supernets", "datasets"):
        for nameless in (None, ""):
            answer = light_service.client.patch(paths[kind], json={"name": nameless})
            assert answer.status_code == 422
            assert answer.json()["errors"][0]["pointer"] == "/name"


def test_a_picture_has_the_name_of_now(light_service: Running):
    search = light_service.search(budget={"evaluations": 8})
    light_service.wait(search)
    plot = f"/v1/searches/{search}/plots/history"
    before = light_service.client.get(plot).headers["ETag"]
    light_service.client.patch(f"/v1/searches/{search}", json={"name": "another"})
    renamed = light_service.client.get(plot, headers={"If-None-Match": before})
    assert renamed.status_code == 200


def test_the_request_is_as_it_was_given_and_makes_the_same_search(service: Running):
    body = service.body(strategy={"name": "linas"}, constraints=[{"cost": "gflops", "max": 9}])
    first = service.client.post("/v1/searches", json=body).json()
    given = service.get(f"/v1/searches/{first['id']}/request")
    assert given == body
    service.client.post(f"/v1/searches/{first['id']}/extend", json={"evaluations": 3})
    assert service.get(f"/v1/searches/{first['id']}/request") == body
    second = service.client.post("/v1/searches", json=given).json()
    for field in ("objectives", "strategy", "max_length", "constraints", "budget", "seed"):
        assert second[field] == first[field]


def test_the_request_of_an_earlier_version_has_its_defaults(light_service: Running):
    search = light_service.search(budget={"evaluations": 3})
    with light_service.client.app.state.service.database.write() as session:
        session.get_one(SearchRow, search).asked = None
    request = light_service.get(f"/v1/searches/{search}/request")
    assert request["max_length"] == 64
    assert light_service.client.post("/v1/searches", json=request).status_code == 201
