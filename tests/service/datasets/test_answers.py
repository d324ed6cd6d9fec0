"""Questions with their contexts and answers, in every format of a file."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from elasticnas.service.blobs import LocalBlobs
from elasticnas.tasks.stored_rows import read_rows
from tests.service.running import Running

ROWS: list[dict[str, Any]] = [
    {
        "id": "1",
        "question": "Who?",
        "context": "Ada, and Bob.",
        "answers": {"text": ["Ada", "Bob"], "answer_start": [0, 9]},
    },
    {
        "id": "2",
        "question": "When?",
        "context": "Now.",
        "answers": {"text": [], "answer_start": []},
    },
]


def post(running: Running, content: str | bytes, kind: str = "squad") -> Any:
    form = {"task": "question-answering", "kind": kind}
    return running.client.post("/v1/datasets", data=form, files={"file": ("d", content)})


def test_the_same_rows_have_one_digest_whatever_their_format(light_service: Running):
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    table, text = io.BytesIO(), io.StringIO()
    pq.write_table(pa.Table.from_pylist(ROWS), table)
    writer = csv.writer(text)
    writer.writerow(ROWS[0])
    writer.writerows(
        [*map(row.get, ("id", "question", "context")), json.dumps(row["answers"])] for row in ROWS
    )
    answers = [
        post(light_service, content) for content in (lines, table.getvalue(), text.getvalue())
    ]
    assert [answer.status_code for answer in answers] == [201] * 3, answers[-1].text
    (digest,) = {answer.json()["digest"] for answer in answers}
    with LocalBlobs(light_service.settings.blob_dir).lease(digest) as path:
        rows = read_rows(path)
    assert rows.texts == {"text_a": ["Who?", "When?"], "text_b": ["Ada, and Bob.", "Now."]}
    assert rows.labels.tolist() == ['["Ada", "Bob"]', "[]"]


def test_the_second_squad_has_rows_without_answers(light_service: Running):
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    settings = [
        post(light_service, lines, kind).json()["task_settings"] for kind in ("squad", "squad_v2")
    ]
    assert settings == [{}, {"null_threshold": 0.0}]


def test_a_classifier_answers_no_questions(light_service: Running):
    dataset = post(light_service, json.dumps(ROWS[0])).json()["id"]
    refused = light_service.client.post("/v1/searches", json=light_service.body(dataset_id=dataset))
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/dataset_id"
    assert "where in a text an answer starts and ends" in refused.json()["detail"]
