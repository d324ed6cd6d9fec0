"""Registering and reading datasets over REST."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from elasticnas.service.blobs import LocalBlobs
from tests.service.running import running_service

FORM = {
    "name": "toy",
    "task": "text-classification",
    "text_columns": "text",
    "label_column": "label",
}
CSV = "text,label\na,neg\nb,pos\n"


def post(running, content=CSV, **fields):
    form = {k: v for k, v in {**FORM, **fields}.items() if v is not None}
    return running.client.post("/v1/datasets", data=form, files={"file": ("d.csv", content)})


def test_a_dataset_is_read_and_stored_in_the_canonical_form(service):
    body = post(service).json()
    assert body["rows"] == 2
    assert body["metric"] == "accuracy"
    assert body["label_names"] == ["neg", "pos"]
    assert body["label_names_given"] is False
    assert body["num_labels"] == 2
    assert service.get(f"/v1/datasets/{body['id']}") == body
    assert service.get("/v1/datasets")["items"] == [body]
    with LocalBlobs(service.settings.blob_dir).lease(body["digest"]) as path:
        stored = pq.read_table(path)
    assert stored.to_pydict() == {"text_a": ["a", "b"], "text_b": [None, None], "label": [0, 1]}


def test_a_dataset_without_a_name_takes_its_file_s(light_service):
    assert post(light_service, name=None).json()["name"] == "d.csv"


def test_the_same_rows_have_one_digest_whatever_their_format(light_service):
    lines = '{"text": "a", "label": "neg"}\n{"text": "b", "label": "pos"}\n'
    assert post(light_service).json()["digest"] == post(light_service, lines).json()["digest"]


@pytest.mark.parametrize(
    ("content", "fields", "pointer"),
    [
        ("text,label\n", {}, "/file"),
        ("text,label\na,-1\n", {}, "/label"),
        (CSV, {"text_columns": "sentence"}, "/sentence"),
        (CSV, {"metric": "pearson"}, "/metric"),
        (CSV, {"metric": "bleu"}, "/metric"),
        (CSV, {"task": "translation"}, "/task"),
        (CSV, {"name": "n" * 201}, "/name"),
        (CSV, {"label_names": "neg"}, "/label"),
        (CSV, {"label_names": "neg,"}, "/label_names"),
        (CSV, {"label_names": "neg,neg"}, "/label_names"),
        (CSV, {"label_names": "[]"}, "/label_names"),
        (CSV, {"label_names": "[0, 1]"}, "/label_names"),
        (CSV, {"label_names": '["neg", "\\ud83d"]'}, "/label_names"),
        (CSV, {"label_names": '["neg", "a\\u0000b"]'}, "/label_names"),
        (CSV, {"text_columns": '["\\ud83d"]'}, "/text_columns"),
        (CSV, {"text_columns": "text\0"}, "/text_columns/0"),
        (CSV, {"label_column": "label\0"}, "/label_column"),
        ('{"text": "a", "label": "\\ud83d"}\n', {}, "/label"),
        ('{"text": "\\ud83d", "label": 1}\n', {}, "/text"),
        ('{"text": "a", "label": %s}\n' % ("1" * 400), {}, "/label"),
        ('{"text": "a", "label": 1, "\\ud83d": %s}\n' % ("[" * 100_000), {}, "/line 1"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_registered(light_service, content, fields, pointer):
    answer = post(light_service, content, **fields)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert light_service.get("/v1/datasets")["items"] == []


@pytest.mark.parametrize(
    "label_names", ['["Yes, sure", "No"]', ["Yes, sure", "No"]], ids=["json", "repeated"]
)
def test_names_may_hold_commas(light_service, label_names):
    content = '"text, whole",label\na,No\nb,"Yes, sure"\n'
    body = post(
        light_service, content, text_columns='["text, whole"]', label_names=label_names
    ).json()
    assert body["text_columns"] == ["text, whole"]
    assert body["label_names"] == ["Yes, sure", "No"]
    assert body["label_names_given"] is True
    assert light_service.get(f"/v1/datasets/{body['id']}") == body


def test_pairs_of_texts_may_be_repeated_fields(light_service):
    content = "a,b,label\nx,y,0\n"
    for columns in ("a,b", '["a", "b"]', ["a", "b"]):
        assert post(light_service, content, text_columns=columns).json()["text_columns"] == [
            "a",
            "b",
        ]


def test_rows_and_bytes_are_limited(sqlite_url, tmp_path):
    with running_service(
        sqlite_url, tmp_path, max_dataset_rows=1, max_dataset_bytes=2000
    ) as running:
        assert "more than 1 rows" in post(running).json()["detail"]
        assert post(running, "text,label\n" + "a,0\n" * 1000).status_code == 413


def test_deleting_is_refused_while_a_search_refers_to_it(light_service):
    dataset = light_service.dataset()
    search = light_service.search(dataset_id=dataset)
    answer = light_service.client.delete(f"/v1/datasets/{dataset}")
    assert answer.status_code == 409
    assert search in answer.json()["detail"]
    other = light_service.dataset()
    assert light_service.client.delete(f"/v1/datasets/{other}").status_code == 204
    assert light_service.client.get(f"/v1/datasets/{other}").status_code == 404
