"""The client against servers, proxies and networks that misbehave."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs

import httpx2
import pytest

from elasticnas.api_schemas.jobs import JobKind, JobState
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.searches import SearchState
from elasticnas.client import Client, ServerProblemError, ServerUnreachableError, connection
from elasticnas.client.proxies import proxy_for
from tests.backing import free_port
from tests.client.stub import Answer, Request, StubServer, job_read, search_read

BUSY = {"title": "busy", "status": 503, "detail": "the database is locked"}


@pytest.fixture(autouse=True)
def _no_waiting_and_no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "WAITS", (0.0, 0.0, 0.0))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def first(*answers: Answer) -> Callable[[Request], Answer]:
    """These answers one after the other, and the last one from then on."""
    turns = count()
    return lambda _: answers[min(next(turns), len(answers) - 1)]


def test_a_search_whose_answer_is_lost_is_asked_for_again_with_the_same_key():
    with StubServer(first(Answer(None), Answer(201, search_read()))) as stub:
        client = Client(stub.url)
        assert client.start_search({"supernet_id": "a"}).id == "search-1"
        client.start_search({"supernet_id": "a"})
    keys = [request.headers["idempotency-key"] for request in stub.requests]
    assert keys[0] == keys[1] != keys[2]
    assert len({request.body for request in stub.requests}) == 1


def test_a_training_whose_answer_is_lost_is_asked_for_again_with_the_same_key(tmp_path: Path):
    (tmp_path / "model.tar").write_bytes(b"weights")
    for model in (None, tmp_path / "model.tar"):
        with StubServer(first(Answer(None), Answer(202, job_read()))) as stub:
            made = Client(stub.url).start_training({"dataset_id": "d", "name": "\u60c5"}, model)
        assert (made.id, made.steps[0].progress.done) == ("job-1", 3)
        lost, again = stub.requests
        assert lost.path == again.path == "/v1/trainings"
        assert lost.headers["idempotency-key"] == again.headers["idempotency-key"]
        assert b"u60c5" in again.body
        assert (b"weights" in again.body) == (model is not None)


def test_jobs_are_asked_for_by_state_and_kind_and_changed_by_name():
    page = Answer(200, {"items": [job_read()], "next_cursor": None})
    with StubServer(first(page, page, Answer(200, job_read(state="cancelled")))) as stub:
        client = Client(stub.url)
        assert [job.id for job in client.jobs()] == ["job-1"]
        assert len(list(client.jobs(JobState.RUNNING, JobKind.TRAINING))) == 1
        assert client.change_job("job-1", "cancel").state is JobState.CANCELLED
    assert [request.path for request in stub.requests] == [
        "/v1/jobs?limit=100",
        "/v1/jobs?limit=100&state=running&kind=training",
        "/v1/jobs/job-1/cancel",
    ]


def test_what_a_step_has_left_is_put_under_a_folder_and_nowhere_else(tmp_path: Path):
    def listed(path: str) -> Answer:
        file = {"path": path, "size_bytes": 2, "sha256": "a" * 64}
        return Answer(200, {"job_id": "job-1", "step": "space", "files": [file], "size_bytes": 2})

    with StubServer(first(listed("base/a b.json"), Answer(200, {}), listed("../x"))) as stub:
        client = Client(stub.url)
        client.download_product("job-1", "space", tmp_path / "product")
        with pytest.raises(InputError, match="outside of the folder"):
            client.download_product("job-1", "space", tmp_path / "product")
    assert (tmp_path / "product" / "base" / "a b.json").read_text() == "{}"
    assert stub.requests[1].path == "/v1/jobs/job-1/steps/space/product/base/a%20b.json"
    assert not (tmp_path / "x").exists()


def test_what_could_be_done_twice_is_not_repeated_after_a_lost_answer(tmp_path: Path):
    (tmp_path / "rows.jsonl").write_text("{}")
    with StubServer(first(Answer(None))) as stub:
        client = Client(stub.url)
        with pytest.raises(ServerUnreachableError, match="may have been done"):
            client.add_dataset(tmp_path / "rows.jsonl", {})
        with pytest.raises(ServerUnreachableError, match="may have been done"):
            client.change("search-1", "extend", evaluations=5)
    assert [request.method for request in stub.requests] == ["POST", "POST"]


def test_a_server_that_says_when_to_come_back_is_asked_again_then(tmp_path: Path):
    (tmp_path / "rows.jsonl").write_text('{"text": "whole"}')
    again = Answer(503, BUSY, {"Retry-After": "0"})
    with (
        StubServer(first(again, again, Answer(422, {**BUSY, "status": 422}))) as stub,
        pytest.raises(ServerProblemError, match="locked"),
    ):
        Client(stub.url).add_dataset(tmp_path / "rows.jsonl", {"name": "a"})
    assert [b'{"text": "whole"}' in request.body for request in stub.requests] == [True] * 3


def test_a_server_that_stays_busy_is_left_in_the_end():
    with (
        StubServer(first(Answer(503, BUSY, {"Retry-After": "3600"}))) as stub,
        pytest.raises(ServerProblemError, match="locked"),
    ):
        list(Client(stub.url).searches())
    assert len(stub.requests) == 1


def test_a_deletion_whose_answer_was_lost_has_been_done():
    gone = Answer(404, {"title": "Not found", "status": 404, "detail": "there is no search"})
    with StubServer(first(Answer(None), gone)) as stub:
        Client(stub.url).delete("searches", "search-1")
        with pytest.raises(ServerProblemError, match="there is no search"):
            Client(stub.url).delete("searches", "search-1")


def test_a_bound_stored_as_null_does_not_break_the_list(caplog):
    page = {
        "items": [
            search_read(constraints=[{"cost": "gflops", "max": None}]),
            search_read(id="search-2", hypervolume=None),
            search_read(id="search-3", constraints=[{"cost": "params", "max": 5}]),
        ],
        "next_cursor": None,
    }
    with StubServer(first(Answer(200, page))) as stub:
        found = list(Client(stub.url).searches())
    assert [(each.id, len(each.constraints)) for each in found] == [
        ("search-1", 0),
        ("search-3", 1),
    ]
    assert "search-2 is left out: hypervolume" in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"<html>Welcome to the hotel's network</html>"),
        Answer(302, b"", {"Location": "https://elsewhere.example/"}),
        Answer(502, b"<html>Bad Gateway</html>"),
        Answer(200, {"items": "many"}),
    ],
)
def test_what_is_no_elasticnas_server_is_called_so(answer):
    with (
        StubServer(first(answer)) as stub,
        pytest.raises((ServerUnreachableError, ServerProblemError), match="ElasticNAS server"),
    ):
        list(Client(stub.url).supernets())


def test_an_id_is_one_segment_of_the_path():
    problem = {"title": "Not found", "status": 404, "detail": "no"}
    with StubServer(first(Answer(404, problem))) as stub:
        for identity in ("../datasets", "a/b?c#d", "\u60c5"):
            with pytest.raises(ServerProblemError):
                Client(stub.url).search(identity)
    assert [request.path for request in stub.requests] == [
        "/v1/searches/..%2Fdatasets",
        "/v1/searches/a%2Fb%3Fc%23d",
        "/v1/searches/%E6%83%85",
    ]


def test_a_name_typed_under_an_ascii_locale_arrives_as_it_was_typed():
    typed = "\u60c5\u611f".encode().decode("ascii", "surrogateescape")
    with StubServer(first(Answer(201, search_read()))) as stub:
        Client(stub.url).start_search({"name": typed, "other": "\u60c5"})
    assert json.loads(stub.requests[0].body) == {"name": "\u60c5\u611f", "other": "\u60c5"}


@pytest.mark.parametrize("number", [float("inf"), float("nan")])
def test_a_number_that_json_has_no_word_for_is_refused_by_its_field(number):
    with pytest.raises(InputError, match="constraints/0/max"):
        Client("http://127.0.0.1:1").start_search({"constraints": [{"max": number}]})


@pytest.mark.parametrize(
    "url",
    [
        *("localhost:8000", "http://", "ftp://a", "http://[::1", "", "http://a:b"),
        *("http://a..b", "http://.a", f"http://{'a' * 64}.b"),
    ],
)
def test_what_is_no_url_is_refused(url):
    with pytest.raises(InputError, match="--server"):
        Client(url)


# -- proxies -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "environment", "expected"),
    [
        ("http://nas.example:8000", {"HTTP_PROXY": "http://p:3128"}, "http://p:3128"),
        ("http://nas.example:8000", {"http_proxy": "p:3128"}, "http://p:3128"),
        ("http://nas.example:8000", {"HTTPS_PROXY": "http://p:3128"}, None),
        ("https://nas.example", {"HTTPS_PROXY": "http://p:3128"}, "http://p:3128"),
        ("http://nas.example", {"ALL_PROXY": "socks5://p:1080"}, "socks5://p:1080"),
        ("http://localhost:8000", {"HTTP_PROXY": "http://p:3128"}, None),
        ("http://nas.localhost", {"HTTP_PROXY": "http://p:3128"}, None),
        ("http://127.8.9.1:8000", {"ALL_PROXY": "http://p:3128"}, None),
        ("http://[::1]:8000", {"ALL_PROXY": "http://p:3128"}, None),
        ("http://[::ffff:127.0.0.1]", {"ALL_PROXY": "http://p:3128"}, None),
        ("http://[::ffff:10.0.0.1]", {"ALL_PROXY": "http://p:3128"}, "http://p:3128"),
        ("http://127.1:8000", {"ALL_PROXY": "http://p:3128"}, None),
        ("http://0:8000", {"ALL_PROXY": "http://p:3128"}, None),
        ("http://10.1:8000", {"ALL_PROXY": "http://p:3128"}, "http://p:3128"),
        ("http://ip6-localhost", {"ALL_PROXY": "http://p:3128"}, None),
        ("http://LOCALHOST.localdomain.", {"ALL_PROXY": "http://p:3128"}, None),
        ("http://nas.example", {"HTTP_PROXY": "http://p", "NO_PROXY": "other,.example"}, None),
        ("http://nas.example", {"HTTP_PROXY": "http://p", "no_proxy": "*"}, None),
        ("http://10.1.2.3:8000", {"HTTP_PROXY": "http://p", "NO_PROXY": "10.0.0.0/8"}, None),
        ("http://10.1.2.3:8000", {"HTTP_PROXY": "http://p", "NO_PROXY": "10.1.2.3:8000"}, None),
        ("http://11.1.2.3", {"HTTP_PROXY": "http://p", "NO_PROXY": "10.0.0.0/8"}, "http://p"),
    ],
)
def test_the_proxy_is_the_environments_except_for_loopback_and_no_proxy(
    monkeypatch, server, environment, expected
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = proxy_for(httpx2.URL(server))
    assert (None if found is None else found.url) == expected


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5://127.0.0.1:9", "nonsense://a"])
@pytest.mark.parametrize("name", ["HTTP_PROXY", "all_proxy"])
def test_loopback_is_never_asked_of_a_proxy(monkeypatch, name, proxy):
    monkeypatch.setenv(name, proxy)
    with StubServer(first(Answer(200, {"items": []}))) as stub:
        assert list(Client(stub.url).supernets()) == []


def test_a_proxy_is_asked_for_other_servers(monkeypatch):
    with StubServer(first(Answer(200, {"items": []}))) as stub:
        monkeypatch.setenv("HTTP_PROXY", stub.url)
        assert list(Client("http://nas.example:8000").supernets()) == []
    assert stub.requests[0].path.startswith("http://nas.example:8000/v1/supernets")


def test_a_proxy_that_does_not_answer_is_said_to_be_it(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://user:secret@127.0.0.1:{free_port()}")
    with pytest.raises(ServerUnreachableError) as caught:
        list(Client("http://nas.example:8000").supernets())
    said = str(caught.value)
    assert "the proxy http://user:***@127.0.0.1" in said
    assert "NO_PROXY" in said
    assert "http_proxy" in said.lower()
    assert "start one" not in said


@pytest.mark.parametrize("proxy", ["socks4://p:1", "http://[::1", "http://p:port"])
def test_a_proxy_that_cannot_be_used_is_refused_by_its_variable(monkeypatch, proxy):
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(InputError, match="ALL_PROXY"):
        Client("http://nas.example:8000")


def test_lists_are_asked_for_by_what_is_given_and_nothing_else():
    empty = Answer(200, {"items": [], "next_cursor": None})
    with StubServer(first(empty)) as stub:
        client = Client(stub.url)
        wanted = [SearchState.RUNNING, SearchState.PAUSED]
        assert list(client.searches(state=wanted, q="a b", tag=None)) == []
        assert list(client.evaluations("search-1", on_front=True, max_gflops=0.5)) == []
    asked = [parse_qs(request.path.partition("?")[2]) for request in stub.requests]
    assert asked[0] == {"limit": ["100"], "state": ["running", "paused"], "q": ["a b"]}
    assert asked[1] == {"limit": ["500"], "on_front": ["true"], "max_gflops": ["0.5"]}


def test_what_is_written_on_a_search_is_sent_once_more_when_the_answer_is_lost():
    with StubServer(first(Answer(None), Answer(200, search_read()))) as stub:
        Client(stub.url).annotate("searches", "search-1", notes=None, tags=["a"])
    assert len(stub.requests) == 2
    assert json.loads(stub.requests[1].body) == {"notes": None, "tags": ["a"]}
