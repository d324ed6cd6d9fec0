"""Files as they come: formats told from content, quotes, encodings, and the place of each fault."""

from __future__ import annotations

import bz2
import csv as csv_module
import gzip
import io
import json
import lzma
import pickle
import zipfile
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from elasticnas.api_schemas.problems import InputError
from elasticnas.tasks import TEXT_REGRESSION
from tests.service.datasets.test_reading import csv, jsonl, parquet, read, refused

TEXTS = [
    "plain",
    'he said "good" twice',
    '"quoted whole"',
    "tab\there",
    "two\nlines",
    '"',
    "",
    "a, b",
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "received"


def written(texts: list[str], **dialect: object) -> str:
    """A table as Python's CSV writer, and pandas with it, write it."""
    out = io.StringIO()
    writer = csv_module.writer(out, **dialect)
    writer.writerow(["text", "label"])
    writer.writerows([text, index % 2] for index, text in enumerate(texts))
    return out.getvalue()


# -- quotes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", "\t"])
@pytest.mark.parametrize(
    "quoting", [csv_module.QUOTE_MINIMAL, csv_module.QUOTE_ALL, csv_module.QUOTE_NONNUMERIC]
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_what_a_csv_writer_wrote_is_read_back(file, delimiter, quoting, line_end):
    texts = [text.replace("\n", line_end) for text in TEXTS]
    text = written(texts, delimiter=delimiter, quoting=quoting, lineterminator=line_end)
    file.write_bytes(text.encode())
    assert read(file).text_a == texts


@pytest.mark.parametrize(
    "texts",
    [
        ['"Yes," he said.', "plain"],
        ['so "good"', "plain"],
        ['"opened and never closed', "plain", 'or ended" only'],
        ['"What is this?"', "no quotes at all"],
        ['"a ""b"" c"', 'and "another" by hand'],
        ['5" floppy', '""'],
    ],
)
def test_quotes_in_a_tsv_that_no_csv_writer_wrote_are_text(file, texts):
    """As GLUE's files have them."""
    rows = "".join(f"{text}\t{index % 2}\n" for index, text in enumerate(texts))
    assert read(csv(file, "text\tlabel\n" + rows)).text_a == texts


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (
            'sentence\tlabel\n"it is a good film\t1\nbad\t0\nhe said so "\t0\nfine\t1\n',
            {"sentence": ['"it is a good film', "bad", 'he said so "', "fine"]},
        ),
        ('label\tsentence\n1\t"open\n0\tb\n1\tclose"\n', {"sentence": ['"open', "b", 'close"']}),
        ('q1\tq2\tlabel\n"what is\tthat"\t1', {"q1": ['"what is'], "q2": ['that"']}),
        ('a\tb\tlabel\n"x\ty\t0\nz"\tw\t1\n', {"a": ['"x', 'z"'], "b": ["y", "w"]}),
    ],
)
def test_a_quote_that_a_later_one_closes_swallows_no_row(file, content, columns):
    rows = read(csv(file, content), text_columns=list(columns))
    assert [rows.text_a, rows.text_b] == [*columns.values(), None][:2]


@pytest.mark.parametrize(
    ("rows", "texts"),
    [
        (['"Well, yes"\t1', "no\t0", '"a, b, c"\t1'], ["Well, yes", "no", "a, b, c"]),
        (['"Well, yes"\t1', "no, no\t0", '"a, b"\t1'], ['"Well, yes"', "no, no", '"a, b"']),
        (['"Well, yes"\t1', '"no"\t0', "a\t1"], ['"Well, yes"', '"no"', "a"]),
        (['"Well, yes"\t1', "no\t0"], ['"Well, yes"', "no"]),
    ],
)
def test_excel_encloses_all_values_with_a_comma(file, rows, texts):
    content = "\r\n".join(["text\tlabel", *rows, ""])
    assert read(csv(file, content)).text_a == texts


@pytest.mark.parametrize(
    "content",
    [
        "\ntext\tlabel\na, b\t0\n",
        " \r\n\r\ntext\tlabel\r\na, b\t0\r\n",
        '\ntext\tlabel\n"a, b"\t0\n',
        'text, label\n"a, b",0\n',
        ' text ,label \n"a, b",0\n',
        "text ;label\na, b;0\n",
        '"text";"label"\n"a, b";"0"\n',
        '"text, whole";text;label\nx;a, b;0\n',
        "sep=;\ntext;label\na, b;0\n",
        '"sep=,"\r\ntext,label\r\n"a, b",0\r\n',
        "sep=|\ntext|label\na, b|0\n",
        "sep=\t\ntext\tlabel\na, b\t0\n",
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "with-a-mark"])
def test_what_separates_values_is_told_from_the_header(file, content, mark):
    rows = read(csv(file, mark + content))
    assert (rows.text_a, rows.labels) == (["a, b"], [0])


def test_a_semicolon_beside_commas_is_text(file):
    assert read(csv(file, "text;s,text,label\na,b;c,0\n")).text_a == ["b;c"]


def test_a_name_with_spaces_can_still_be_said_with_them(file):
    assert read(csv(file, "text, text,label\na,b,0\n"), text_columns=[" text"]).text_a == ["b"]


def test_a_long_text_and_blank_lines(file):
    long = "word " * 500_000
    rows = read(csv(file, f'text,label\n\n"{long}",0\n\nb,1\n'))
    assert rows.text_a == [long, "b"]


# -- faults of a row -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "field", "says"),
    [
        ("id\ttext\tlabel\n1\ta\t0\n2\tb\t1\n\tc\n", "row 3", "line 4 of the file"),
        ("text,label\na,0\n\nb, c,1\n", "row 2", "3 values, and the header has 2"),
        ('text,label\na,0\n"b,1\nc,0\n', "row 2", "never closed"),
        ('text,label\na,0\n"b" c,1\n', "row 2", "goes on after its closing quote"),
        ('"text,label\na,0\n', "the header", "never closed"),
        ("text;label\na;0\nb;c;0\n", "row 2", "holds a semicolon"),
        ("\n\nsep=;\ntext;label\na;0\nb\n", "row 2", "line 6 of the file"),
        ("text,label,label\na,0,1\n", "label", "twice"),
        ("text,label\na,0\nb\0,1\n", "file", "NUL"),
        ("x" * 5000 + ",text,label\n1,a\0,0\n", "line 2", "NUL"),
    ],
)
def test_a_fault_of_a_table_is_named_with_its_row(file, content, field, says):
    error = refused(csv(file, content))
    assert error.field == field
    assert says in error.sentence()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"text": "t", "label": 0, "label": 1}', "a key twice"),
        ('{"text": "t", "label": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ("{", "one whole object on each line"),
    ],
)
def test_a_fault_of_an_object_is_named_with_its_line(file, line, says):
    error = refused(csv(file, '{"text": "t", "label": 0}\n' + line + "\n"))
    assert error.field == "line 2"
    assert says in error.sentence()


def test_a_key_that_nobody_asks_for_may_be_there_twice(file):
    row = '{"text": "t", "label": 1, "id": 1, "id": 2, "more": {"text": 1, "text": 2}}\n'
    assert read(csv(file, row)).labels == [1]


@pytest.mark.parametrize("row", ['{"text": "olé", "label": 0}', '"olé",0'])
def test_text_that_is_not_utf8_is_named_with_its_line(file, row):
    head = '{"text": "a", "label": 0}' if row.startswith("{") else "text,label"
    file.write_bytes(f"{head}\n{row}\n".encode("latin-1"))
    error = refused(file)
    assert error.field == "line 2"
    assert "not UTF-8" in error.detail
    assert "iconv" in (error.remedy or "")


@pytest.mark.parametrize("content", ["text,label\na,0\n", '{"text": "a", "label": 0}\n'])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_byte_order_mark_and_windows_line_ends(file, content, line_end):
    file.write_bytes(content.replace("\n", line_end).encode("utf-8-sig"))
    assert read(file).text_a == ["a"]


def test_rows_are_counted_while_they_are_read(file):
    rows = [{"text": "t", "label": 0}] * 3
    content = "text,label\n" + "a,0\n" * 3
    for path in (
        jsonl(file, *rows),
        csv(file, content),
        parquet(file, text=["t"] * 3, label=[0] * 3),
    ):
        assert len(read(path, most_rows=3).labels) == 3
        assert "more than 2 rows" in refused(path, most_rows=2).detail


# -- other formats -------------------------------------------------------------------------------


def workbook() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return out.getvalue()


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("data.csv", "text,label\n")
    return out.getvalue()


def arrow_file() -> bytes:
    out = io.BytesIO()
    feather.write_feather(pa.table({"text": ["a"], "label": [0]}), out)
    return out.getvalue()


TABLE = b"text,label\na,0\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (gzip.compress(TABLE), "gzip"),
        (bz2.compress(TABLE), "bzip2"),
        (lzma.compress(TABLE), "xz"),
        (workbook(), "spreadsheet"),
        (archive(), "zip archive"),
        (arrow_file(), "write it as Parquet"),
        (pickle.dumps([1]), "pickle"),
        (TABLE.decode().encode("utf-16"), "UTF-16"),
        (TABLE.decode().encode("utf-16-le"), "UTF-16"),
        (TABLE.decode().encode("utf-32"), "UTF-32"),
        (b"<!DOCTYPE html><html>not found</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
        (b"%PDF-1.7\n", "PDF"),
        (b"PARE" + bytes(20), "encrypted Parquet"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_another_format_is_refused_as_what_it_is(file, content, says):
    file.write_bytes(content)
    error = refused(file)
    assert error.field == "file"
    assert says in error.sentence()
    assert error.remedy


@pytest.mark.parametrize("name", ["PARENT", "ORCID", "BZh", "FEA1"])
def test_a_header_may_begin_like_another_format(file, name):
    assert read(csv(file, f"{name},text,label\n1,a,0\n")).text_a == ["a"]


# -- Parquet -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 0], pa.uint64()),
        pa.array([1, 0], pa.int8()),
        pa.array([1.0, 0.0], pa.float32()),
        pa.array([Decimal(1), Decimal(0)], pa.decimal128(5, 2)),
        pa.array([True, False]),
        pa.array(["1", "0"], pa.large_string()),
        pa.array(["1", "0"]).dictionary_encode(),
        pa.array([1, 0]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_classes_of_any_plain_parquet_type(file, column):
    texts = pa.array(["a", "b"]).dictionary_encode()
    pq.write_table(pa.table({"text": texts, "label": column}), file)
    assert read(file).labels == [1, 0]
    assert read(file).text_a == ["a", "b"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1]]),
        pa.array([{"a": 1}]),
        pa.array([b"1"]),
        pa.array([1], pa.timestamp("ns")),
        pa.array([1], pa.date32()),
        pa.array([1], pa.duration("s")),
    ],
    ids=lambda column: str(column.type),
)
@pytest.mark.parametrize("place", ["text", "label"])
def test_a_parquet_column_of_another_type_is_named(file, column, place):
    columns = {"text": pa.array(["a"]), "label": pa.array([0]), place: column}
    pq.write_table(pa.table(columns), file)
    error = refused(file)
    assert error.field == place
    assert "neither text nor numbers" in error.detail


def test_parquet_strings_that_are_not_utf8(file):
    bad = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xe9")]
    )
    pq.write_table(pa.table({"text": bad, "label": [0]}), file)
    assert "UTF" in refused(file).sentence()


def test_a_parquet_column_twice_and_one_with_a_dot(file):
    table = pa.table([pa.array(["a"]), pa.array([0])], names=["text.en", "label"])
    pq.write_table(table, file)
    assert read(file, text_columns=["text.en"]).text_a == ["a"]
    pq.write_table(pa.table([["a"], [0], [1]], names=["text", "label", "label"]), file)
    assert "twice" in refused(file).detail


# -- labels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["nan", "eng"], ("eng", "nan")),
        (["inf", "nan"], ("inf", "nan")),
        (["1.5", "x"], ("1.5", "x")),
        (["007", "bond"], ("007", "bond")),
        (["1_0", "2_0"], ("1_0", "2_0")),
        (["True", "no"], ("True", "no")),
        (["null", "NA"], ("NA", "null")),
        (["٣", "٤"], ("٣", "٤")),
        ([" pos", "neg "], ("neg", "pos")),
    ],
)
@pytest.mark.parametrize("write", ["jsonl", "csv"])
def test_texts_that_look_like_numbers_are_names_among_texts(file, labels, names, write):
    if write == "jsonl":
        path = jsonl(file, *({"text": "t", "label": label} for label in labels))
    else:
        path = csv(file, "text,label\n" + "".join(f"t,{label}\n" for label in labels))
    rows = read(path)
    assert rows.label_names == names
    assert rows.labels == [names.index(label.strip()) for label in labels]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([True, False], [1, 0]),
        (["007", "1.0", " 2 ", "3e0"], [7, 1, 2, 3]),
        ([1.0, 0], [1, 0]),
    ],
)
def test_numbers_are_classes(file, labels, classes):
    rows = read(jsonl(file, *({"text": "t", "label": label} for label in labels)))
    assert (rows.labels, rows.label_names) == (classes, None)


@pytest.mark.parametrize("words", [("True", "False"), ("TRUE", "FALSE"), ("true", "false")])
@pytest.mark.parametrize("names", [None, ["false", "true"], ["False", "True"]])
def test_true_and_false_of_a_csv_are_what_they_are_in_jsonl(file, words, names):
    path = csv(file, "text,label\n" + "".join(f"t,{word}\n" for word in words))
    rows = read(path, label_names=names)
    assert rows.labels == [1, 0]
    assert rows.label_names == (None if names is None else tuple(names))


@pytest.mark.parametrize(
    ("labels", "names", "classes"),
    [
        (["2", "1"], ["1", "2"], [1, 0]),
        ([2, 1], ["1", "2"], [1, 0]),
        ([2.0, 1.0], ["1", "2"], [1, 0]),
        ([True, False], ["true", "false"], [0, 1]),
        (["True", "False"], ["False", "True"], [1, 0]),
        ([1, 0], ["no", "yes"], [1, 0]),
        (["Yes, sure", "No"], ["Yes, sure", "No"], [0, 1]),
    ],
)
def test_given_names_may_be_numbers(file, labels, names, classes):
    path = jsonl(file, *({"text": "t", "label": label} for label in labels))
    assert read(path, label_names=names).labels == classes


@pytest.mark.parametrize(
    ("label", "says"),
    [
        (int("9" * 400), "larger than 100000"),
        ("9" * 400, "larger than 100000"),
        (-int("9" * 400), "not a whole number"),
        (float("inf"), "larger than 100000"),
        ([1], "neither a class nor a name"),
        ({"a": 1}, "neither a class nor a name"),
        (True, "true or false where others are not"),
        ("", "missing"),
        (" ", "missing"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_label_that_is_no_class_is_named(file, label, says):
    error = refused(jsonl(file, {"text": "t", "label": 0}, {"text": "t", "label": label}))
    assert error.field == "label"
    assert "line 2" in error.detail
    assert says in error.detail


@pytest.mark.parametrize(
    ("labels", "names", "says"),
    [
        (["0", "1", "no"], None, "line 3 is text where others are numbers"),
        (["0.0", "1.0", "no"], None, "line 3 is text where others are numbers"),
        (["up \ud83d", "down"], None, "line 1 holds half a character"),
        (["a\0b", "down"], None, "line 1 holds a NUL character"),
        (["x" * 1001, "down"], None, "line 1 has more than 1000 characters"),
        ([3, 1], ["1", "2"], "line 1 is none of the label names 1, 2"),
        ([True], ["no", "yes"], "line 1 is none of the label names no, yes"),
        (["maybe \udc00"], ["no", "yes"], "line 1 is none of the label names no, yes"),
    ],
)
def test_a_label_that_is_no_name_is_named(file, labels, names, says):
    path = jsonl(file, *({"text": "t", "label": label} for label in labels))
    error = refused(path, label_names=names)
    assert says in error.detail
    error.sentence().encode()  # can be written into any answer


def test_a_number_of_more_digits_than_python_reads(file):
    row = '{"text": "t", "label": %s, "other": 1}\n'
    assert "larger than" in refused(csv(file, row % ("1" * 5000))).detail
    fine = '{"text": "t", "label": 1, "other": %s}\n'
    assert read(csv(file, fine % ("1" * 5000))).labels == [1]


@pytest.mark.parametrize("target", ["1" + "0" * 400, "Infinity", "NaN", "true", '"1_0"', "1e999"])
def test_a_target_beyond_all_floats_is_named(file, target):
    path = csv(file, f'{{"text": "t", "label": {target}}}\n')
    assert "line 1 is not a finite number" in refused(path, task=TEXT_REGRESSION).detail


def test_half_an_emoji_in_a_text_is_named_with_its_line_and_column(file):
    file.write_text(
        '{"text": "fine \\ud83d\\ude00", "label": 0}\n{"text": "\\ud83d", "label": 1}\n'
    )
    error = refused(file)
    assert error.field == "text"
    assert "line 2 holds half a character" in error.detail
    json.dumps(error.value).encode()


def test_an_error_lists_columns_within_reason(file):
    names = [f"column{i}" for i in range(5000)]
    error = refused(csv(file, ",".join(names) + "\n"))
    assert isinstance(error, InputError)
    assert len(error.sentence()) < 1000
