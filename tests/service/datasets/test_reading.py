"""What datasets are read as, and what is wrong with those that are not."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from elasticnas.api_schemas.problems import InputError
from elasticnas.service.datasets.reading import read_rows
from elasticnas.service.datasets.rows import DatasetRows, write_canonical
from elasticnas.tasks import TEXT_CLASSIFICATION, TEXT_REGRESSION, Task
from elasticnas.tasks.rows import Rows
from elasticnas.tasks.task import ColumnsAsked


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def csv(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def parquet(path: Path, **columns: list[object]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@dataclass(frozen=True)
class Read:
    """What was read of a task that does not prompt."""

    text_a: list[str]
    text_b: list[str] | None
    labels: list[float]
    label_names: tuple[str, ...] | None
    num_labels: int

    @classmethod
    def of(cls, rows: DatasetRows) -> Read:
        first, *rest = rows.rows.texts.values()
        labels = rows.rows.labels.tolist()
        return cls(first, rest[0] if rest else None, labels, rows.label_names, rows.num_labels)

    def __len__(self) -> int:
        return len(self.labels)


def read(
    path: Path,
    task: Task = TEXT_CLASSIFICATION,
    text_columns: Sequence[str] = ("text",),
    label_column: str = "label",
    label_names: Sequence[str] | None = None,
    most_rows: int | None = None,
) -> Read:
    names = None if label_names is None else tuple(label_names)
    asked = ColumnsAsked(tuple(text_columns), label_column, names)
    return Read.of(read_rows(path, task=task, asked=asked, most_rows=most_rows))


def stored(labels: list[float], task: Task = TEXT_CLASSIFICATION) -> DatasetRows:
    return DatasetRows(task, Rows({"text": ["a", "b"]}, np.array(labels)))


def refused(path: Path, **options: object) -> InputError:
    with pytest.raises(InputError) as caught:
        read(path, **options)
    return caught.value


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "received"


def test_jsonl_csv_tsv_and_parquet_read_the_same(file):
    texts, labels = ["one, two", 'he said "no"', "drei"], [0, 1, 2]
    expected = Read(texts, None, labels, None, 3)
    rows = [{"text": t, "label": n, "extra": None} for t, n in zip(texts, labels, strict=True)]
    assert read(jsonl(file, *rows)) == expected
    assert read(csv(file, 'label,text\n0,"one, two"\n1,"he said ""no"""\n2,drei\n')) == expected
    assert read(csv(file, 'label\ttext\n0\tone, two\n1\the said "no"\n2\tdrei\n')) == expected
    assert read(parquet(file, text=texts, label=labels)) == expected


def test_the_order_of_the_file_is_kept(file):
    rows = [{"text": str(i), "label": i % 2} for i in (5, 3, 4, 1, 2)]
    assert read(jsonl(file, *rows)).text_a == ["5", "3", "4", "1", "2"]


def test_pairs_of_texts(file):
    rows = read(jsonl(file, {"a": "x", "b": "y", "label": 1}), text_columns=["a", "b"])
    assert (rows.text_a, rows.text_b) == (["x"], ["y"])


def test_csv_text_that_looks_like_a_number_or_null_stays_text(file):
    assert read(csv(file, "text,label\n007,0\nNA,1\n,1\n")).text_a == ["007", "NA", ""]


def test_text_labels_become_sorted_classes(file):
    rows = read(jsonl(file, *({"text": "t", "label": name} for name in ("pos", "neg", "pos"))))
    assert rows.labels == [1, 0, 1]
    assert rows.label_names == ("neg", "pos")


def test_label_names_give_the_order_of_classes(file):
    path = jsonl(file, *({"text": "t", "label": name} for name in ("a", "b")))
    rows = read(path, label_names=["b", "a", "c"])
    assert rows.labels == [1, 0]
    assert rows.label_names == ("b", "a", "c")


def test_targets_are_floats(file):
    rows = read(csv(file, "text,label\na,1\nb,2.5\n"), task=TEXT_REGRESSION)
    assert rows.labels == [1.0, 2.5]
    assert rows.num_labels == 1


def test_a_regression_has_no_label_names(file):
    path = csv(file, "text,label\na,1\n")
    assert refused(path, task=TEXT_REGRESSION, label_names=["one"]).field == "label_names"


def test_classes_are_one_more_than_the_largest_label(file):
    assert read(jsonl(file, {"text": "t", "label": 4})).num_labels == 5


@pytest.mark.parametrize(
    ("label", "what"),
    [
        (-1, "negative"),
        (0.5, "not a whole number"),
        (None, "missing"),
        (math.nan, "missing"),
        (10**9, "larger than"),
        ("no", "text where others are numbers"),
    ],
)
def test_a_bad_class_is_named_with_its_line_column_and_value(file, label, what):
    error = refused(jsonl(file, {"text": "t", "label": 0}, {"text": "t", "label": label}))
    assert what in error.detail
    assert "line 2" in error.detail
    assert error.field == "label"
    assert error.value == repr(label)


def test_blank_lines_do_not_shift_line_numbers(file):
    file.write_text('{"text": "t", "label": 0}\n\n\n{"text": "t", "label": -1}\n')
    assert "line 4" in refused(file).detail


@pytest.mark.parametrize("label", ["", "many", "nan", "inf"])
def test_a_bad_target_is_named_with_its_row(file, label):
    error = refused(csv(file, f"text,label\na,1\nb,{label}\n"), task=TEXT_REGRESSION)
    assert "row 2 is not a finite number" in error.detail


def test_a_label_that_is_none_of_the_names(file):
    path = jsonl(file, {"text": "t", "label": "maybe"})
    error = refused(path, label_names=["yes", "no"])
    assert "none of the label names yes, no" in error.detail


def test_a_class_beyond_the_names(file):
    path = jsonl(file, {"text": "t", "label": 2})
    assert "beyond the 2 label names" in refused(path, label_names=["yes", "no"]).detail


@pytest.mark.parametrize("text", [None, 5, ["a"]])
def test_text_that_is_not_text(file, text):
    error = refused(jsonl(file, {"text": text, "label": 0}))
    assert error.field == "text"
    assert "line 1 is not text" in error.detail


@pytest.mark.parametrize("write", [jsonl, None], ids=["jsonl", "parquet"])
def test_a_missing_column_is_named_with_those_there(file, write):
    path = (
        jsonl(file, {"sentence": "t", "label": 0})
        if write
        else parquet(file, sentence=["t"], label=[0])
    )
    error = refused(path)
    assert error.field == "text"
    assert "'sentence', 'label'" in (error.remedy or "")


def test_a_missing_csv_column(file):
    assert refused(csv(file, "sentence,label\na,0\n")).field == "text"


@pytest.mark.parametrize("content", ["", "\n \n", "text,label\n"])
def test_an_empty_dataset(file, content):
    assert "empty" in refused(csv(file, content)).detail


def test_an_empty_parquet_file(file):
    path = parquet(file, text=pa.array([], pa.string()), label=pa.array([], pa.int64()))
    assert "empty" in refused(path).detail


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ('{"text": "t", "label": 0}\n{"text": ', "line 2"),
        ('{"text": "t", "label": 0}\n[1]\n', "line 2"),
        ('[{"text": "t", "label": 0}]', "file"),
        ("text,label\na,0\nb,1,2\n", "row 2"),
    ],
)
def test_a_damaged_file_is_named_with_the_place(file, content, where):
    assert refused(csv(file, content)).field == where


def test_a_damaged_parquet_file(file):
    file.write_bytes(b"PAR1" + b"\0" * 100)
    assert "damaged" in refused(file).detail


@pytest.mark.parametrize("columns", [[], ["a", "b", "c"], ["text", "text"], ["label"]])
def test_one_or_two_different_text_columns_are_needed(file, columns):
    path = jsonl(file, {"text": "t", "label": 0})
    assert refused(path, text_columns=columns).field == "text_columns"


def test_the_canonical_file_is_the_same_for_the_same_rows(tmp_path):
    rows = stored([0, 1])
    for name in ("one", "two"):
        write_canonical(rows, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    ("task", "labels", "kind"),
    [(TEXT_CLASSIFICATION, [0, 1], pa.int64()), (TEXT_REGRESSION, [0.5, 1.0], pa.float64())],
)
def test_the_canonical_file_has_three_typed_columns(tmp_path, task, labels, kind):
    write_canonical(stored(labels, task), tmp_path / "file")
    table = pq.read_table(tmp_path / "file")
    assert table.schema.names == ["text_a", "text_b", "label"]
    assert table.schema.types == [pa.string(), pa.string(), kind]
    assert table.to_pydict() == {"text_a": ["a", "b"], "text_b": [None, None], "label": labels}


def test_a_metric_belongs_to_its_task():
    assert TEXT_CLASSIFICATION.metric(None).name == "accuracy"
    assert TEXT_REGRESSION.metric("spearman").name == "spearman"
    with pytest.raises(InputError, match="choose one of pearson, spearman"):
        TEXT_REGRESSION.metric("accuracy")
