"""Downloading a subnet's weights."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from traceback import extract_stack

import pytest

from elasticnas.api_schemas.problems import Problem
from elasticnas.service.blobs import LocalBlobs
from elasticnas.service.exports.building import resend_exports
from elasticnas.service.queue import Queue
from tests.service.running import Running, running_service

NOT_RANKS_ONLY = Problem(
    type="/problems/export-failed",
    title="The weights cannot be exported",
    status=422,
    detail="format: widths were cut too",
)


def built(running: Running, url: str, **query: str):
    """Poll until the weights are there."""
    running.until(lambda: running.client.get(url, params=query).status_code != 202)
    return running.client.get(url, params=query)


@pytest.fixture
def finished(service) -> tuple[Running, str]:
    search = service.wait(service.search(budget={"evaluations": 4}))
    return service, f"/v1/searches/{search['id']}/subnets/1/weights"


def test_the_weights_are_built_once_asked_for(finished):
    service, url = finished
    service.worker.exports_open.clear()
    pending = service.client.get(url)
    assert pending.status_code == 202
    assert pending.headers["retry-after"] == "1"
    assert pending.json()["state"] == "pending"
    assert pending.json()["format"] == "transformers"
    assert service.client.get(url).json()["requested_at"] == pending.json()["requested_at"]
    service.worker.exports_open.set()
    answer = built(service, url)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="net-1-transformers.zip"'
    pack = zipfile.ZipFile(io.BytesIO(answer.content))
    assert pack.namelist() == ["net-1/config.json"]
    card = json.loads(pack.read("net-1/config.json"))
    assert (card["supernet_name"], card["dataset_name"], card["dataset_rows"]) == (
        "net.tar",
        "toy",
        4,
    )
    assert card["number"] == 1
    assert set(card["metrics"]) == {"accuracy", "f1"}


def test_a_download_can_be_resumed_and_revalidated(finished):
    service, url = finished
    whole = built(service, url)
    etag = whole.headers["etag"]
    part = service.client.get(url, headers={"Range": "bytes=10-19", "If-Range": etag})
    assert part.status_code == 206
    assert part.content == whole.content[10:20]
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
    assert service.client.get(url, headers={"If-None-Match": etag}).status_code == 304


def test_each_format_is_an_export_of_its_own(finished):
    service, url = finished
    names = {
        built(service, url, format=name).headers["content-disposition"]
        for name in ("transformers", "peft")
    }
    assert len(names) == 2


def test_a_failed_export_says_why_and_can_be_asked_for_again(finished):
    service, url = finished
    service.worker.export_problem = NOT_RANKS_ONLY
    statuses = []
    service.until(lambda: statuses.append(service.client.get(url)) or statuses[-1].is_error)
    assert statuses[-1].status_code == 422
    assert statuses[-1].json()["detail"] == "format: widths were cut too"
    service.worker.export_problem = None
    assert built(service, url).status_code == 200


def test_a_file_that_was_cleared_away_is_built_again(finished):
    service, url = finished
    digest = built(service, url).headers["etag"].strip('"')
    LocalBlobs(service.settings.blob_dir).path(digest).unlink()
    assert built(service, url).status_code == 200


def test_only_completed_evaluations_have_weights(service):
    service.worker.open.clear()
    search_id = service.search()
    url = f"/v1/searches/{search_id}/subnets"
    service.until(lambda: service.get(f"/v1/searches/{search_id}/evaluations")["items"])
    answer = service.client.get(f"{url}/0/weights")
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/not-completed"
    assert service.client.get(f"{url}/999/weights").status_code == 404
    assert service.client.get(f"{url}/0/weights?format=nose").status_code == 422
    assert service.client.get("/v1/searches/nope/subnets/0/weights").status_code == 404


def test_a_poll_of_an_export_takes_no_lock(finished):
    """Where another writes for long, as a large transaction does, a poll is answered at once."""
    service, url = finished
    service.worker.exports_open.clear()
    assert service.client.get(url).status_code == 202
    database = service.client.app.state.service.database
    writes = []
    real = database.write

    def spied():
        # The coordinator renews its lease meanwhile, and that is no write of a poll.
        if any("/exports/building" in frame.filename for frame in extract_stack()):
            writes.append(1)
        return real()

    database.write = spied
    try:
        for _ in range(3):
            assert service.client.get(url).status_code == 202
        assert writes == []
        service.worker.exports_open.set()
        assert built(service, url).status_code == 200
        before = len(writes)
        assert service.client.get(url).status_code == 200
        assert len(writes) == before
        assert service.client.get(url.replace("/1/", "/2/")).status_code == 202
        assert len(writes) > before, "a new export is written down"
    finally:
        database.write = real


def test_a_coordinator_that_starts_asks_only_for_exports_that_the_queue_lost(
    finished, monkeypatch: pytest.MonkeyPatch
):
    service, url = finished
    generation = ["one"]
    monkeypatch.setattr(Queue, "generation", lambda _: generation[0])
    service.worker.exports_open.clear()
    assert service.client.get(url).status_code == 202
    sent = []
    monkeypatch.setattr(Queue, "send", lambda _, message: sent.append(message))
    running = service.client.app.state.service
    resend_exports(running)
    assert sent == []
    generation[0] = "two"
    resend_exports(running)
    # The coordinator notices the new queue too: whichever comes first sends it, and no other.
    service.until(lambda: sent)
    resend_exports(running)
    assert [message.format for message in sent] == ["transformers"]
    service.worker.exports_open.set()


def test_an_export_in_progress_survives_the_process(database_url: str, tmp_path: Path):
    with running_service(database_url, tmp_path) as running:
        search = running.wait(running.search(budget={"evaluations": 3}))
        url = f"/v1/searches/{search['id']}/subnets/0/weights"
        running.worker.send = lambda _: None
        assert running.client.get(url).status_code == 202
    with running_service(database_url, tmp_path) as running:
        assert built(running, url).status_code == 200


def test_the_formats_of_a_subnet_say_what_is_possible_and_what_is_there(finished):
    service, url = finished
    exports = url.replace("/weights", "/exports")
    before = {each["format"]: each for each in service.get(exports)["items"]}
    assert (before["transformers"]["possible"], before["transformers"]["state"]) == (True, "absent")
    number = int(url.split("/")[-2])
    subnet = service.get(url.replace(f"subnets/{number}/weights", f"evaluations/{number}"))[
        "subnet"
    ]
    cuts = any(choice < 12 for name, choice in subnet.items() if name.endswith("heads"))
    assert cuts
    assert before["peft"]["possible"] is False
    assert "cuts layer.0" in before["peft"]["reason"]
    built(service, url)
    after = {each["format"]: each for each in service.get(exports)["items"]}
    assert after["transformers"]["state"] == "ready"
    assert after["transformers"]["size_bytes"] > 0
    assert service.client.get(after["transformers"]["path"]).status_code == 200
    maximal = service.get(exports.replace(f"subnets/{number}/", "subnets/0/"))["items"]
    assert [e["possible"] for e in maximal if e["format"] == "peft"] == [None]


def test_a_failed_export_is_listed_with_its_problem(finished):
    service, url = finished
    service.worker.export_problem = NOT_RANKS_ONLY
    service.client.get(url)
    exports = url.replace("/weights", "/exports")
    service.until(lambda: service.get(exports)["items"][0]["state"] == "failed")
    assert service.get(exports)["items"][0]["problem"]["detail"] == NOT_RANKS_ONLY.detail


def test_a_pending_export_says_who_builds_it_and_how_far_that_is(finished):
    service, url = finished
    exports = url.replace("/weights", "/exports")
    service.worker.exports_open.clear()
    assert service.client.get(url).status_code == 202
    waiting = service.get(exports)["items"][0]
    assert (waiting["state"], waiting["worker"], waiting["written_bytes"]) == (
        "pending",
        None,
        None,
    )
    service.builds("builder", 1234)
    service.until(lambda: service.get(exports)["items"][0]["worker"] is not None)
    at_work = service.get(exports)["items"][0]
    assert (at_work["worker"], at_work["written_bytes"]) == ("builder", 1234)
    service.worker.exports_open.set()
    built(service, url)
    ready = service.get(exports)["items"][0]
    assert (ready["state"], ready["worker"], ready["written_bytes"]) == ("ready", None, None)
