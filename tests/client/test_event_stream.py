"""The client's reader of event streams, across connections that break off."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2
import pytest

from elasticnas.client import Client, ServerProblemError, ServerUnreachableError
from elasticnas.client.event_stream import EventReader, SearchEvent

RUNNING = {"state": "running", "stop_reason": None, "error": None}
COMPLETED = {"state": "completed", "stop_reason": "evaluation_budget_spent", "error": None}


def text(number: int, data: dict[str, object]) -> str:
    return f"event: state\nid: {number}\ndata: {json.dumps(data)}\n\n"


def client(answers: list[httpx2.Response | Exception], asked: list[str | None]) -> Client:
    """A client of a server that gives these answers in turn."""
    turns = iter(answers)

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.headers.get("Last-Event-ID"))
        found = next(turns)
        if isinstance(found, Exception):
            raise found
        return found

    return Client("http://test", transport=httpx2.MockTransport(answer))


def breaking_off(content: str) -> Iterator[bytes]:
    yield content.encode()
    raise httpx2.ReadError("the connection is lost")


def test_a_reader_takes_comments_unknown_events_and_ids_without_data():
    reader = EventReader(SearchEvent)
    lines = (
        ": still here\n\nretry: 30\nid: 4\n\nevent: weather\ndata: {}\n\n" + text(5, RUNNING)
    ).splitlines()
    [event] = reader.read(lines)
    assert (event.id, event.data["state"]) == (5, "running")
    assert (reader.last_id, reader.retry_seconds, reader.is_over) == ("5", 0.03, False)


def test_an_event_that_was_cut_in_half_is_not_told_and_asked_for_again():
    asked: list[str | None] = []
    half = "retry: 1\nid: 3\n\n" + text(4, RUNNING) + "event: state\nid: 5\ndata: {"
    found = client(
        [
            httpx2.Response(200, content=breaking_off(half)),
            httpx2.ConnectError("away"),
            httpx2.Response(200, text="retry: 1\n\n" + text(5, COMPLETED)),
        ],
        asked,
    ).events("search")
    assert [event.id for event in found] == [4, 5]
    assert asked == [None, "4", "4"]


def test_the_events_of_a_job_end_with_its_state_and_not_with_that_of_a_step():
    def state(number: int, job: str, step: str) -> str:
        data = {"state": job, "step": "train", "step_state": step, "attempt": 1}
        return text(number, data)

    scalars = 'event: scalars\nid: 3\ndata: {"step": "train", "done": 2, "scalars": {}}\n\n'
    content = state(2, "running", "completed") + scalars + state(4, "failed", "completed")
    asked: list[str | None] = []
    found = list(client([httpx2.Response(200, text=content)], asked).job_events("job", after=1))
    assert [(event.id, event.event.value) for event in found] == [
        (2, "state"),
        (3, "scalars"),
        (4, "state"),
    ]
    assert asked == ["1"]


def test_a_search_that_has_nothing_more_to_tell_ends_the_events():
    asked: list[str | None] = []
    assert list(client([httpx2.Response(204)], asked).events("search", after=9)) == []
    assert asked == ["9"]


def test_a_server_that_stays_away_is_an_error_in_the_end():
    asked: list[str | None] = []
    opening = "retry: 1\nid: 3\n\n"
    answers = [httpx2.Response(200, text=opening), *[httpx2.ConnectError("away")] * 5]
    with pytest.raises(ServerUnreachableError, match="away"):
        list(client(answers, asked).events("search"))
    assert asked == [None, *["3"] * 5]


def test_a_search_that_is_not_there_is_the_servers_problem():
    body = {"title": "Not found", "status": 404, "detail": "there is no search nose"}
    with pytest.raises(ServerProblemError, match="nose"):
        list(client([httpx2.Response(404, json=body)], []).events("nose"))


def test_the_stream_of_everything_is_taken_up_where_it_broke_off():
    def state(number: int, name: str) -> str:
        data = {"kind": "search", "id": name, "name": None, "state": "completed"}
        return text(number, data)

    answers: list[httpx2.Response | Exception] = [
        httpx2.Response(200, text="retry: 1\nid: 6\n\n" + state(7, "one")),
        httpx2.Response(200, text=state(8, "two")),
    ]
    asked: list[str | None] = []
    found = client(answers, asked).all_events(after=6)
    assert [(event.id, event.data["id"]) for event in (next(found), next(found))] == [
        (7, "one"),
        (8, "two"),
    ]
    assert asked == ["6", "7"]
