"""Hand-made input that broke servers: never 500, always a problem document, on both databases."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.service.running import Running, running_service, tar_of

JSON = {"content-type": "application/json"}
FORM = {"content-type": "multipart/form-data; boundary=X"}
DEEP = "[" * 100_000
ROWS = b'{"sentence": "a", "label": 0}\n{"sentence": "b", "label": 1}\n'
NET = tar_of({"base/x": "1"})


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request, tmp_path_factory) -> Iterator[tuple[Running, dict[str, str]]]:
    """A service with a search that has ended, and the ids of what there is."""
    folder = tmp_path_factory.mktemp("hostile")
    url = f"sqlite:///{folder / 'test.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("module_postgres_url")
    with running_service(url, folder) as running:
        ids = {"supernet": running.supernet(), "dataset": running.dataset()}
        ids["search"] = running.search(supernet_id=ids["supernet"], dataset_id=ids["dataset"])
        running.wait(ids["search"])
        yield running, ids


def refused(running: Running, method: str, path: str, **request: Any) -> dict[str, Any]:
    """The problem that a request is answered with."""
    answer = running.client.request(method, path, **request)
    assert 400 <= answer.status_code < 500, (path, answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    body = json.loads(answer.text.encode().decode("utf-8"))
    assert body["detail"]
    return body


@pytest.mark.parametrize(
    ("extra", "pointer"),
    [
        ('"constraints": [{"cost": "gflops", "max": 1e999}]', "/constraints/0/max"),
        ('"constraints": [{"cost": "gflops", "max": Infinity}]', "/constraints/0/max"),
        ('"constraints": [{"cost": "gflops", "max": NaN}]', "/constraints/0/max"),
        ('"constraints": [{"cost": "gflops", "max": -1e999}]', "/constraints/0/max"),
        (
            f'"constraints": [{{"cost": "gflops", "max": {"9" * 400}}}]',
            "/constraints/0/max",
        ),
        ('"budget": {"seconds": 1e999}', "/budget/seconds"),
        ('"budget": {"seconds": 1e308}', "/budget/seconds"),
        (f'"budget": {{"evaluations": {"9" * 400}}}', "/budget/evaluations"),
        (f'"seed": {"9" * 400}', "/seed"),
        ('"seed": 1e400', "/seed"),
        ('"weight": NaN', "/weight"),
        ('"verify": NaN', "/verify"),
        ('"racing": {"confidence": NaN}', "/racing/confidence"),
        ('"plateau": {"min_gain": Infinity}', "/plateau/min_gain"),
        (f'"max_failures": {"9" * 50}', "/max_failures"),
        (f'"max_length": {"9" * 50}', "/max_length"),
        (r'"name": "a\u0000b"', "/name"),
        (r'"name": "half \ud83d"', "/name"),
        (r'"name": "half \ude00 the other"', "/name"),
        (f'"name": "{"a" * 201}"', "/name"),
        (f'"name": {"[" * 150}{"]" * 150}', "/name"),
        (r'"initial_subnets": [{"\ud83d": 1}]', None),
        (r'"initial_subnets": [{"a\u0000": 1}]', None),
        (f'"initial_subnets": [{{"layer.0.heads": {"9" * 400}}}]', None),
        (r'"verify_dataset_id": "\u0000"', "/verify_dataset_id"),
        (r'"objectives": ["\u0000", "\ud83d"]', None),
        (r'"strategy": {"name": "\ud83d"}', "/strategy/name"),
        ('"strategy": {"name": {}}', "/strategy/name"),
        ('"strategy": ' + '{"a": ' * 150 + "1" + "}" * 150, None),
        (r'"\ud83d": 1', None),
        (r'"\u0000": 1', None),
    ],
)
def test_a_value_that_cannot_be_kept_is_named(world, extra, pointer):
    running, ids = world
    asked = json.dumps({"supernet_id": ids["supernet"], "dataset_id": ids["dataset"]})
    content = f"{asked[:-1]}, {extra}}}".encode()
    problem = refused(running, "POST", "/v1/searches", content=content, headers=JSON)
    if pointer is not None:
        assert pointer in {error["pointer"] for error in problem["errors"]}


@pytest.mark.parametrize("path", ["/v1/searches", "/v1/supernets", "cost", "extend"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b'{"a":',
        b'{"name": "\xff"}',
        '{"name": "x"}'.encode("utf-16"),
        b'{"evaluations": 1, "evaluations": 2}',
        DEEP.encode(),
        rb'{"a": "\ud83d", "b": ' + DEEP.encode(),
        b'{"seed": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_no_json_is_said_to_be_none(world, path, content):
    running, ids = world
    path = {
        "cost": f"/v1/supernets/{ids['supernet']}/cost",
        "extend": f"/v1/searches/{ids['search']}/extend",
    }.get(path, path)
    refused(running, "POST", path, content=content, headers=JSON)


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "\xff"],
)
@pytest.mark.parametrize("path", ["/v1/searches", "/v1/supernets", "/v1/datasets"])
def test_another_media_type_is_415(world, path, media_type):
    headers = {"content-type": media_type.encode("latin-1")}
    problem = refused(world[0], "POST", path, content=b'{"name": 1}', headers=headers)
    assert problem["status"] == 415


@pytest.mark.parametrize("path", ["/v1/supernets", "/v1/datasets"])
@pytest.mark.parametrize("charset", ["idna", "undefined", "punycode", "utf-7", "hex", "none"])
def test_forms_are_utf8(world, path, charset):
    content = b'--X\r\ncontent-disposition: form-data; name="name"\r\n\r\n\xff..\r\n--X--\r\n'
    headers = {"content-type": f"{FORM['content-type']}; charset={charset}"}
    refused(world[0], "POST", path, content=content, headers=headers)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 1000,
        b'--X\r\ncontent-disposition: form-data; name="na',
        b"--X\r\ncontent-disposition: form-data\r\n\r\na\r\n--X--\r\n",
        b'--X\r\ncontent-disposition: form-data; name="file"; filename="\xff\0"\r\n\r\nx\r\n--X--',
    ],
)
@pytest.mark.parametrize("path", ["/v1/supernets", "/v1/datasets"])
def test_a_damaged_form_is_refused(world, path, content):
    refused(world[0], "POST", path, content=content, headers=FORM)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "a\0b"},
        {"name": "a" * 201},
        {"label_column": "\0"},
        {"text_columns": "a\0"},
        {"text_columns": ""},
        {"text_columns": ",,,"},
        {"text_columns": '["a"'},
        {"text_columns": "[" * 4000},
        {"text_columns": r'["\ud83d"]'},
        {"label_names": "a\0,b"},
        {"label_names": r'["\ud83d", "b"]'},
        {"label_names": r'["\u0000", "b"]'},
        {"label_names": '"a,b'},
        {"label_names": '{"a": 1}'},
        {"task": "x\0"},
        {"metric": "\0"},
    ],
    ids=str,
)
def test_form_fields_are_as_strict(world, fields):
    form = {"task": "text-classification", "text_columns": "sentence", "label_column": "label"}
    files = {"file": ("d.jsonl", ROWS)}
    refused(world[0], "POST", "/v1/datasets", data=form | fields, files=files)


@pytest.mark.parametrize("name", ["a\0", "a" * 201])
def test_the_name_of_an_upload_is_as_strict(world, name):
    files = {"archive": ("net.tar", NET)}
    refused(world[0], "POST", "/v1/supernets?wait=60", data={"name": name}, files=files)


@pytest.mark.parametrize("filename", ["a" * 3000, "a\0b", "\N{GRINNING FACE}"])
def test_any_name_of_a_file_will_do(world, filename):
    running, _ = world
    form = {"task": "text-classification", "text_columns": "sentence", "label_column": "label"}
    sent = [
        running.client.post("/v1/supernets?wait=60", files={"archive": (filename, NET)}),
        running.client.post("/v1/datasets", data=form, files={"file": (filename, ROWS)}),
    ]
    for answer in sent:
        assert answer.status_code == 201, answer.text
        assert 1 <= len(answer.json()["name"]) <= 200


def cursor(text: str | bytes) -> str:
    data = text if isinstance(text, bytes) else text.encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


MOMENT = "2020-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    "text",
    [
        *("x", "%00", "%ff", "====", "a" * 400),
        cursor("[" + "9" * 20 + "]"),
        *(cursor(f"[{number}]") for number in (-1, 2**31, 2**63, 1.5, "1e999", "NaN", "true")),
        *(cursor(text) for text in ("[null]", "{}", "[1, 2]", "[" * 200, b"\xff\xfe")),
        cursor('["2020-01-01", ""]'),
        cursor('["2020-01-01T00:00:00", "a"]'),
        cursor('["0001-01-01T00:00:00+14:00", "a"]'),
        cursor('["9999-12-31T23:59:59-14:00", "a"]'),
        cursor(f'["{MOMENT}", "a\\u0000"]'),
        cursor(f'["{MOMENT}", "\\ud83d"]'),
        cursor(f'["{MOMENT}", 1]'),
    ],
)
@pytest.mark.parametrize("name", ["searches", "datasets", "supernets", "evaluations"])
def test_an_odd_cursor_is_none_of_the_list(world, name, text):
    running, ids = world
    path = f"/v1/searches/{ids['search']}/evaluations" if name == "evaluations" else f"/v1/{name}"
    refused(running, "GET", f"{path}?cursor={text}")


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "9" * 400, "1e3", "NaN", "x", "%00", "1.5"])
def test_an_odd_limit_is_refused(world, limit):
    problem = refused(world[0], "GET", f"/v1/searches?limit={limit}")
    assert problem["errors"][0]["pointer"] == "/limit"


@pytest.mark.parametrize("identity", ["%00", "a%00b", "%ff", "%ed%a0%80", "a" * 5000, "%0a", "%F0"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/searches/{}"),
        ("GET", "/v1/searches/{}/front"),
        ("GET", "/v1/searches/{}/events"),
        ("GET", "/v1/searches/{}/evaluations"),
        ("GET", "/v1/searches/{}/plots/front"),
        ("GET", "/v1/searches/{}/subnets/0/weights"),
        ("GET", "/v1/supernets/{}"),
        ("GET", "/v1/supernets/{}/space"),
        ("GET", "/v1/datasets/{}"),
        ("GET", "/problems/{}"),
        ("DELETE", "/v1/searches/{}"),
        ("DELETE", "/v1/datasets/{}"),
        ("DELETE", "/v1/supernets/{}"),
        ("POST", "/v1/searches/{}/pause"),
        ("POST", "/v1/searches/{}/retry"),
    ],
)
def test_an_odd_id_names_nothing(world, method, path, identity):
    refused(world[0], method, path.format(identity))


@pytest.mark.parametrize("number", ["-1", "9" * 20, "2147483647", "2147483648", "x", "1.5", "%00"])
def test_an_odd_number_names_no_subnet(world, number):
    running, ids = world
    refused(running, "GET", f"/v1/searches/{ids['search']}/subnets/{number}/weights")


@pytest.mark.parametrize(
    "query", ["max_gflops=inf", "max_gflops=nan", "max_gflops=1e999", "max_gflops=%00", "%00=1"]
)
def test_an_odd_bound_is_refused(world, query):
    running, ids = world
    refused(running, "GET", f"/v1/searches/{ids['search']}/front?{query}")


@pytest.mark.parametrize("key", ["a\0", "", "x" * 256, "\xe9", "\t"])
def test_an_odd_idempotency_key_is_refused(world, key):
    running, ids = world
    headers = {"Idempotency-Key": key.encode("latin-1")}
    body = {"supernet_id": ids["supernet"], "dataset_id": ids["dataset"]}
    refused(running, "POST", "/v1/searches", json=body, headers=headers)


@pytest.mark.parametrize("text", ["9" * 30, "-1", "\xb2", "1_0"])
def test_an_odd_event_id_is_refused(world, text):
    running, ids = world
    headers = {"Last-Event-ID": text.encode("latin-1")}
    refused(running, "GET", f"/v1/searches/{ids['search']}/events", headers=headers)


@pytest.mark.parametrize(
    "value", ["bytes=x", "bytes=5-1", "bytes=99999999-", "items=0-1", "bytes=" + "9" * 5000 + "-"]
)
def test_an_odd_range_is_refused(world, value):
    running, ids = world
    path = f"/v1/searches/{ids['search']}/subnets/0/weights"
    running.until(lambda: running.client.get(path).status_code == 200)
    refused(running, "GET", path, headers={"range": value})


@pytest.mark.parametrize("host", ["[", "a b", "\xff", "x:99999"])
@pytest.mark.parametrize("path", ["/nope", "/v1/searches/x"])
def test_an_odd_host_changes_no_answer(world, host, path):
    refused(world[0], "GET", path, headers={"host": host.encode("latin-1")})


@pytest.mark.parametrize("path", ["cost", "/v1/supernets", "extend", "/v1/datasets"])
def test_only_files_may_be_large(world, path):
    running, ids = world
    path = {
        "cost": f"/v1/supernets/{ids['supernet']}/cost",
        "extend": f"/v1/searches/{ids['search']}/extend",
    }.get(path, path)
    content = b'{"path": "' + b"a" * 2_000_000 + b'"}'
    assert refused(running, "POST", path, content=content, headers=JSON)["status"] == 413


def test_names_may_hold_commas(world):
    running, _ = world
    rows = b'{"a, b": "x", "label": "Yes, sure"}\n{"a, b": "y", "label": "No"}\n'
    form = {"task": "text-classification", "label_column": "label"}
    for columns, names in (
        ('["a, b"]', '["Yes, sure", "No"]'),
        ('"a, b"', '"Yes, sure", No'),
        ('"a, b"', ["Yes, sure", "No"]),
    ):
        sent = form | {"text_columns": columns, "label_names": names}
        answer = running.client.post("/v1/datasets", data=sent, files={"file": ("d", rows)})
        assert answer.status_code == 201, answer.text
        assert answer.json()["label_names"] == ["Yes, sure", "No"]
        assert answer.json()["text_columns"] == ["a, b"]
