"""Registering and reading super-networks over REST."""

from __future__ import annotations

from datetime import timedelta

import pytest

from elasticnas.api_schemas.problems import Problem
from elasticnas.service.blobs import LocalBlobs
from elasticnas.service.database import Database, now
from elasticnas.service.orphans.sweeping import sweep_registrations
from elasticnas.service.queue import Queue, QueueUnavailableError
from elasticnas.service.supernets import repository
from elasticnas.service.supernets.tables import SupernetRow
from tests.service.running import running_service, tar_of

WAITING = "/v1/supernets?wait=60"
ARCHIVE = {"archive": ("net.tar.gz", tar_of({"net/base/config.json": "{}"}, "w:gz"))}


def registered(running) -> list[dict]:
    return running.get("/v1/supernets")["items"]


def test_an_upload_is_answered_with_what_the_worker_found(service):
    answer = service.client.post(WAITING, files=ARCHIVE, data={"name": "mine"})
    assert answer.status_code == 201
    body = answer.json()
    assert body["name"] == "mine"
    assert body["method"] == "lonas"
    assert body["space"] == {
        "size": 46656,
        "dimensions": 9,
        "parts": {"heads": 3, "ffn": 3, "rank": 3},
    }
    assert body["cost"]["maximal"]["gflops"] > body["cost"]["minimal"]["gflops"]
    assert body["cost"]["maximal"]["max_length"] == body["reference_length"] == 64
    assert body["size_bytes"] == 2
    assert service.get(f"/v1/supernets/{body['id']}") == body
    assert registered(service) == [body]


def test_the_files_are_stored_under_the_digest(light_service):
    body = light_service.client.post(WAITING, files=ARCHIVE).json()
    blobs = LocalBlobs(light_service.settings.blob_dir)
    with blobs.lease(body["digest"]) as manifest:
        assert '"base/config.json"' in manifest.read_text()
    assert list(light_service.settings.incoming_dir.iterdir()) == []


def test_the_same_content_again_shares_its_files(light_service):
    first, second = light_service.supernet(), light_service.supernet()
    assert first != second
    digests = {item["digest"] for item in registered(light_service)}
    assert len(digests) == 1


def test_a_rejected_checkpoint_is_the_workers_problem_and_stays_readable(service):
    service.worker.rejection = Problem(
        type="/problems/invalid-checkpoint",
        title="The checkpoint cannot be used",
        status=422,
        detail="nncf_config.json: unknown group",
    )
    answer = service.client.post(WAITING, files=ARCHIVE)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "nncf_config.json: unknown group"
    kept = service.get(answer.headers["location"])
    assert (kept["id"], kept["state"]) == (answer.json()["supernet_id"], "failed")
    assert kept["problem"]["detail"] == "nncf_config.json: unknown group"
    assert registered(service) == [kept]


def test_an_upload_is_answered_at_once_unless_the_client_waits(light_service):
    at_once = light_service.client.post("/v1/supernets", files=ARCHIVE)
    assert at_once.status_code == 202
    assert at_once.json()["state"] == "reading"
    waits = {"Prefer": "respond-async, wait=60"}
    answer = light_service.client.post("/v1/supernets", files=ARCHIVE, headers=waits)
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/supernets/{answer.json()['id']}"
    read = light_service.client.get(at_once.headers["location"], headers=waits)
    assert (read.json()["state"], "retry-after" in read.headers) == ("ready", False)


def slow(url, folder, **settings):
    """A service whose worker answers nothing before a request's patience is over."""
    return running_service(
        url, folder, worker_runs=False, **{"inspection_timeout_seconds": 0.2, **settings}
    )


def test_a_worker_that_takes_long_is_waited_for_at_another_address(database_url, tmp_path):
    with slow(database_url, tmp_path) as running:
        answer = running.client.post("/v1/supernets", files=ARCHIVE, data={"name": "mine"})
        assert answer.status_code == 202
        assert answer.headers["retry-after"] == "1"
        body = answer.json()
        assert (body["name"], body["state"], body["problem"]) == ("mine", "reading", None)
        assert body["waiting_for"].startswith("a worker: none is alive")
        where = answer.headers["location"]
        waited = running.client.get(f"{where}?wait=60")  # for the service's patience: 0.2 s
        assert (waited.json()["state"], waited.headers["retry-after"]) == ("reading", "1")
        assert registered(running)[0]["state"] == "reading"
        running.worker.heartbeat()
        running.until(lambda: running.get(where)["waiting_for"] is None)
        running.worker.start()
        running.until(lambda: running.get(where)["state"] == "ready")
        assert running.get(where)["space"]["size"] == 46656
        assert running.get(f"{where}/space")["size"] == 46656
        running.worker.stop()


def test_what_a_slow_worker_finds_wrong_is_kept(database_url, tmp_path):
    with slow(database_url, tmp_path) as running:
        where = running.client.post("/v1/supernets", files=ARCHIVE).headers["location"]
        running.worker.rejection = Problem(
            type="/problems/invalid-checkpoint",
            title="The checkpoint cannot be used",
            status=422,
            detail="nncf_config.json: unknown group",
        )
        running.worker.start()
        running.until(lambda: running.get(where)["state"] == "failed")
        assert running.get(where)["problem"]["detail"] == "nncf_config.json: unknown group"
        answer = running.client.get(f"{where}/space")
        assert answer.status_code == 409
        assert "unknown group" in answer.json()["detail"]
        database = Database(running.settings.resolved_database_url)
        sweep_registrations(database)
        assert running.client.delete(where).status_code == 204
        assert registered(running) == []
        database.close()
        running.worker.stop()


def test_only_failed_registrations_are_swept_and_only_old_ones(database_url, tmp_path):
    with slow(database_url, tmp_path) as running:
        where = [
            running.client.post("/v1/supernets", files=ARCHIVE).headers["location"]
            for _ in range(3)
        ]
        names = [each.rsplit("/")[-1] for each in where]
        database = Database(running.settings.resolved_database_url)
        with database.write() as session:
            for name, days, state in zip(
                names, (30, 30, 1), ("reading", "failed", "failed"), strict=True
            ):
                row = session.get_one(SupernetRow, name)
                row.created_at, row.state = now() - timedelta(days=days), state
        sweep_registrations(database)
        database.close()
        statuses = [running.client.get(each).status_code for each in where]
        assert statuses == [200, 404, 200]


def test_what_is_being_read_can_be_deleted_and_no_search_uses_it(database_url, tmp_path):
    with slow(database_url, tmp_path) as running:
        where = running.client.post("/v1/supernets", files=ARCHIVE).headers["location"]
        name = where.rsplit("/")[-1]
        answers = [
            running.client.post("/v1/searches", json=running.body(supernet_id=name)),
            running.client.post(f"{where}/cost", json={}),
            running.client.get(f"{where}/space"),
        ]
        for answer in answers:
            assert answer.status_code == 409
            assert answer.json()["type"] == "/problems/supernet-not-ready"
            assert answer.json()["supernet_state"] == "reading"
        assert running.client.delete(where).status_code == 204
        assert running.client.get(where).status_code == 404
        running.worker.start()  # its late report changes nothing
        other = running.supernet()
        assert [item["id"] for item in registered(running)] == [other]
        running.worker.stop()


def test_a_reading_goes_on_after_a_restart(database_url, tmp_path):
    with slow(database_url, tmp_path) as running:
        where = running.client.post("/v1/supernets", files=ARCHIVE).headers["location"]
    with running_service(database_url, tmp_path) as running:
        running.until(lambda: running.get(where)["state"] == "ready")


def test_a_queue_that_is_away_loses_no_upload(light_service, monkeypatch):
    send = Queue.send
    away = [True]

    def sent(self, message):
        if away[0]:
            raise QueueUnavailableError("away")
        send(self, message)

    monkeypatch.setattr(Queue, "send", sent)
    monkeypatch.setattr(Queue, "generation", lambda _: "one")
    answer = light_service.client.post("/v1/supernets", files=ARCHIVE)
    assert answer.status_code == 202
    away[0] = False  # nobody asks for it: its coordinator does
    where = answer.headers["location"]
    light_service.until(lambda: light_service.get(where)["state"] == "ready")


def test_a_reading_that_two_processes_miss_is_asked_for_once(database_url, tmp_path):
    """Else a slow worker would look as if others had died over it."""
    with slow(database_url, tmp_path) as running:
        service = running.client.app.state.service
        where = running.client.post("/v1/supernets", files=ARCHIVE).headers["location"]
        with service.database.read() as session:
            seen = session.get_one(SupernetRow, where.rsplit("/")[-1])
        for expected in (True, False):
            with service.database.write() as session:
                assert repository.mark_asked(session, seen, now()) is expected


def test_a_bad_archive_names_the_member(light_service):
    files = {"archive": ("net.tar", tar_of({"../evil": "1"}))}
    answer = light_service.client.post("/v1/supernets", files=files)
    assert answer.status_code == 422
    assert "../evil" in answer.json()["detail"]
    assert registered(light_service) == []


def test_a_form_without_the_archive_says_so(light_service):
    answer = light_service.client.post("/v1/supernets", files={"file": ("x", b"1")})
    assert answer.status_code == 422
    assert "valid are archive and name" in answer.json()["detail"]
    answer = light_service.client.post("/v1/supernets", files={"name": (None, "x")})
    assert answer.json()["errors"][0]["pointer"] == "/archive"


def test_another_media_type_is_415(light_service):
    answer = light_service.client.post("/v1/supernets", content=b"x")
    assert answer.status_code == 415


def test_an_upload_beyond_the_limit_is_413(sqlite_url, tmp_path):
    with running_service(sqlite_url, tmp_path, max_upload_bytes=1000) as running:
        big = {"archive": ("net.tar", b"0" * 2000)}
        answer = running.client.post("/v1/supernets", files=big)
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"

        def stream():
            yield b'--b\r\nContent-Disposition: form-data; name="archive"; filename="n"\r\n\r\n'
            yield b"0" * 2000

        answer = running.client.post(
            "/v1/supernets",
            content=stream(),
            headers={"content-type": "multipart/form-data; boundary=b"},
        )
        assert answer.status_code == 413
        assert answer.json()["type"] == "/problems/too-large"


def test_paths_of_the_server_are_refused_unless_allowed(light_service):
    answer = light_service.client.post("/v1/supernets", json={"path": "/etc"})
    assert answer.status_code == 403
    assert answer.json()["type"] == "/problems/source-not-allowed"


def test_an_allowed_path_is_read_as_a_folder_or_an_archive(sqlite_url, tmp_path):
    allowed = tmp_path / "allowed"
    (allowed / "net" / "base").mkdir(parents=True)
    (allowed / "net" / "base" / "x").write_text("1")
    (allowed / "net.tar").write_bytes(tar_of({"base/x": "1"}))
    (allowed / "way-out").symlink_to("/etc")
    with running_service(sqlite_url, tmp_path, server_paths=[allowed]) as running:

        def ask(path: object) -> int:
            body = {"path": str(path)}
            return running.client.post(WAITING, json=body).status_code

        assert ask(allowed / "net") == 201
        assert ask(allowed / "net.tar") == 201
        assert ask(allowed / "missing") == 422
        assert ask(allowed / ".." / "data") == 403
        assert ask(allowed / "way-out") == 403
        assert len({item["digest"] for item in registered(running)}) == 1


def test_the_hub_is_refused_unless_allowed(light_service):
    body = {"hub_id": "org/name", "revision": "a" * 40}
    assert light_service.client.post("/v1/supernets", json=body).status_code == 403


def test_a_hub_revision_must_be_a_full_commit_hash(light_service):
    body = {"hub_id": "org/name", "revision": "main"}
    answer = light_service.client.post("/v1/supernets", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/revision"


def test_an_allowed_hub_repository_is_downloaded_at_its_revision(sqlite_url, tmp_path, monkeypatch):
    asked = []

    def download(repository, *, revision, local_dir):
        asked.append((repository, revision))
        (local_dir / "base").mkdir(parents=True)
        (local_dir / "base" / "config.json").write_text("{}")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with running_service(sqlite_url, tmp_path, allow_hub=True) as running:
        body = {"hub_id": "org/name", "revision": "a" * 40}
        answer = running.client.post(WAITING, json=body)
        assert answer.status_code == 201
        assert answer.json()["name"] == "org/name"
    assert asked == [("org/name", "a" * 40)]


def test_the_space_lists_every_dimension(light_service):
    space = light_service.get(f"/v1/supernets/{light_service.supernet()}/space")
    assert space["size"] == 46656
    assert space["dimensions"][0] == {
        "name": "layer.0.heads",
        "part": "heads",
        "layer": 0,
        "choices": [12, 9, 6],
        "ordered": True,
        "active_when": [],
    }


def test_a_subnet_is_priced_without_an_evaluation(light_service):
    supernet = light_service.get(f"/v1/supernets/{light_service.supernet()}")
    url = f"/v1/supernets/{supernet['id']}/cost"
    full = light_service.client.post(url, json={}).json()
    assert full == supernet["cost"]["maximal"]
    small = light_service.client.post(url, json={"subnet": {"layer.0.heads": 6}}).json()
    assert small["gflops"] < full["gflops"]
    assert set(small["breakdown"]) == {"linear", "adapters", "head", "attention"}
    longer = light_service.client.post(url, json={"max_length": 128}).json()
    assert longer["gflops"] > full["gflops"]
    assert light_service.worker.evaluated == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"subnet": {"layer.9.heads": 6}}, "/subnet/layer.9.heads"),
        ({"subnet": {"layer.0.heads": 7}}, "/subnet/layer.0.heads"),
        ({"max_length": 129}, "/max_length"),
        ({"max_length": 0}, "/max_length"),
        ({"subnets": {}}, "/subnets"),
    ],
)
def test_a_subnet_that_is_not_in_the_space_is_named(light_service, body, pointer):
    url = f"/v1/supernets/{light_service.supernet()}/cost"
    answer = light_service.client.post(url, json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_lists_are_paged_newest_first(service):
    ids = [service.supernet() for _ in range(5)]
    first = service.get("/v1/supernets", limit=2)
    second = service.get("/v1/supernets", limit=2, cursor=first["next_cursor"])
    third = service.get("/v1/supernets", limit=2, cursor=second["next_cursor"])
    listed = [item["id"] for page in (first, second, third) for item in page["items"]]
    assert listed == ids[::-1]
    assert third["next_cursor"] is None


@pytest.mark.parametrize("cursor", ["x", "W10", "WzEsMl0", "é"])
def test_a_made_up_cursor_is_refused(light_service, cursor):
    answer = light_service.client.get("/v1/supernets", params={"cursor": cursor})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/cursor"


def test_deleting_is_refused_while_a_search_refers_to_it(service):
    supernet = service.supernet()
    search = service.search(supernet_id=supernet)
    answer = service.client.delete(f"/v1/supernets/{supernet}")
    assert answer.status_code == 409
    assert search in answer.json()["detail"]
    service.wait(search)
    assert service.client.delete(f"/v1/searches/{search}").status_code == 204
    assert service.client.delete(f"/v1/supernets/{supernet}").status_code == 204
    assert service.client.get(f"/v1/supernets/{supernet}").status_code == 404
