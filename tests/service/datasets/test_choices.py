"""Registering data of language models: choices, kinds, default settings."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from elasticnas.service.blobs import LocalBlobs
from elasticnas.tasks.stored_rows import read_rows
from tests.service.running import Running

FORM = {
    "task": "multiple-choice",
    "text_columns": "label,text_a",
    "choices_column": "choices",
    "label_column": "answer",
}
"""Columns that are called as stored ones are."""
ROWS = [
    {"label": "one", "text_a": "x", "choices": ["a", "b", "c"], "answer": 2},
    {"label": "two", "text_a": "y", "choices": ["no", "yes"], "answer": "B"},
]
JSONL = "".join(json.dumps(row) + "\n" for row in ROWS)


def post(running: Running, content: str | bytes = JSONL, **fields: str | None) -> Any:
    form = {k: v for k, v in {**FORM, **fields}.items() if v is not None}
    return running.client.post("/v1/datasets", data=form, files={"file": ("d", content)})


def parquet(answers: list[Any]) -> bytes:
    columns = {key: [row[key] for row in ROWS] for key in ("label", "text_a", "choices")}
    sink = io.BytesIO()
    pq.write_table(pa.table({**columns, "answer": answers}), sink)
    return sink.getvalue()


def test_rows_are_stored_with_their_columns_and_choices(light_service: Running):
    body = post(light_service).json()
    assert body["text_columns"] == ["label", "text_a"]
    assert body["choices_columns"] == ["choices"]
    assert (body["num_labels"], body["metric"], body["task_settings"]) == (3, "acc", {})
    with LocalBlobs(light_service.settings.blob_dir).lease(body["digest"]) as path:
        rows = read_rows(path)
    assert rows.texts == {"label": ["one", "two"], "text_a": ["x", "y"]}
    assert rows.choices == [["a", "b", "c"], ["no", "yes"]]
    assert rows.labels.tolist() == [2, 1]


def test_the_same_rows_have_one_digest_whatever_their_format(light_service: Running):
    digest = post(light_service).json()["digest"]
    csv = "label\ttext_a\tchoices\tanswer\n" + "".join(
        "\t".join([r["label"], r["text_a"], json.dumps(r["choices"]), str(r["answer"])]) + "\n"
        for r in ROWS
    )
    assert post(light_service, csv).json()["digest"] == digest
    assert post(light_service, parquet([2, 1])).json()["digest"] == digest


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"choices_column": "options"}, "/options"),
        ({"choices_column": "text_a"}, "/text_columns"),
        ({"choices_column": "label", "text_columns": "text_a"}, "/label"),
        ({"label_column": None}, "/label_column"),
        ({"label_names": "a,b"}, "/label_names"),
        ({"first_label": "1"}, None),
        ({"first_label": "2"}, "/first_label"),
        ({"task": "text-classification"}, "/choices_column"),
        ({"task": "perplexity", "choices_column": None}, "/label_column"),
        ({"task_settings": "{"}, "/task_settings"),
        ({"task_settings": "[]"}, "/task_settings"),
        ({"task_settings": '{"prompt": "{x}"}'}, "/task_settings/prompt"),
        ({"kind": "piqa"}, "/text_columns"),
        ({"kind": "nothing"}, "/kind"),
        ({"task": None}, "/task"),
        ({"text_columns": None}, "/text_columns"),
    ],
)
def test_what_is_wrong_is_named(
    light_service: Running, fields: dict[str, str | None], pointer: str | None
):
    answer = post(light_service, **fields)
    if pointer is None:
        assert answer.status_code == 201
        return
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert light_service.get("/v1/datasets")["items"] == []


def test_a_kind_says_columns_task_and_settings(light_service: Running):
    rows = [
        {"goal": "Open", "sol1": "Push.", "sol2": "Pull.", "label": 0},
        {"goal": "Shut", "sol1": "Push.", "sol2": "Pull.", "label": 1},
    ]
    content = "".join(json.dumps(row) + "\n" for row in rows)
    answer = light_service.client.post(
        "/v1/datasets", data={"kind": "piqa"}, files={"file": ("piqa.jsonl", content)}
    )
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert (body["kind"], body["task"]) == ("piqa", "multiple-choice")
    assert body["choices_columns"] == ["sol1", "sol2"]
    assert body["task_settings"] == {"prompt": "Question: {goal}\nAnswer:"}


def test_a_task_without_labels_needs_no_column_of_them(light_service: Running):
    answer = light_service.client.post(
        "/v1/datasets",
        data={"task": "perplexity", "text_columns": "text"},
        files={"file": ("t.csv", "text\none\ntwo\n")},
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["label_column"] is None
    assert answer.json()["metric"] == "perplexity"
