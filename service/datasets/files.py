"""Which format a file has is told from its content, never from its name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from elasticnas.api_schemas.problems import InputError
from elasticnas.service.datasets.delimited import read_delimited
from elasticnas.service.datasets.jsonl import read_jsonl
from elasticnas.service.datasets.parquet import read_parquet
from elasticnas.tasks.columns import Columns

FORMATS = ("jsonl", "csv", "tsv", "parquet")
"""What can be read."""
ACCEPTED = "send JSON Lines, CSV, tab-separated text or Parquet"
_UNPACK = "unpack it and send the file inside: "
_EXPORT = "save the table as CSV in UTF-8 and send that"

_BINARY: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "a gzip archive", _UNPACK + "gunzip FILE.gz"),
    (b"BZh", "a bzip2 archive", _UNPACK + "bunzip2 FILE.bz2"),
    (b"\xfd7zXZ\0", "an xz archive", _UNPACK + "unxz FILE.xz"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", _UNPACK + "unzstd FILE.zst"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", ACCEPTED),
    (b"Rar!", "a RAR archive", ACCEPTED),
    (b"PK\x05\x06", "an empty zip archive", ACCEPTED),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook", _EXPORT),
    (b"PARE", "an encrypted Parquet file", "write it without encryption"),
    (b"ARROW1", "an Arrow (Feather) file", "write it as Parquet"),
    (b"\xff\xff\xff\xff", "an Arrow stream", "write it as Parquet"),
    (b"FEA1", "a Feather file", "write it as Parquet"),
    (b"ORC", "an ORC file", "write it as Parquet"),
    (b"Obj\x01", "an Avro file", "write it as Parquet"),
    (b"\x89HDF", "an HDF5 file", "write it as Parquet"),
    (b"\x93NUMPY", "a NumPy array", ACCEPTED),
    (b"SQLite format 3\0", "an SQLite database", "export the table as CSV"),
    (b"\x80", "a Python pickle", ACCEPTED),
    (b"\xff\xfe\0\0", "UTF-32 text", "save it as UTF-8"),
    (b"\0\0\xfe\xff", "UTF-32 text", "save it as UTF-8"),
    (b"\xff\xfe", "UTF-16 text", "save it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE"),
    (b"\xfe\xff", "UTF-16 text", "save it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE"),
)
"""How binary files begin that are often taken for a table, what they are, and what to do."""
_TEXT: tuple[tuple[bytes, str, str], ...] = (
    (b"%PDF-", "a PDF document", ACCEPTED),
    (b"{\\rtf", "an RTF document", ACCEPTED),
    (
        b"version https://git-lfs.github.com/",
        "a Git LFS pointer, not the file itself",
        "fetch the file: git lfs pull",
    ),
)
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1f]")
"""What no text holds. A text may well begin with the letters of a binary format: ``PARENT``."""
_HEAD = 4096


def read_columns(
    path: Path,
    names: Sequence[str],
    *,
    nested: Sequence[str] = (),
    most_rows: int | None = None,
) -> Columns:
    """Read the named columns of a JSONL, CSV, tab-separated or Parquet file.

    Those that are ``nested`` may hold lists, and objects of lists.

    Raises:
        InputError: the file is empty, damaged or of another format, lacks a column, or has more
            than ``most_rows``. The error names the line or row.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        raise InputError("the dataset is empty", field="file", remedy="send at least one row")
    if head.startswith(b"PAR1"):
        return read_parquet(path, names, nested, most_rows)
    _refuse_others(head)
    if text.startswith(b"{"):
        return read_jsonl(path, names, most_rows)
    if text.startswith(b"["):
        raise InputError(
            "this is a JSON array",
            field="file",
            remedy="send JSON Lines: one object on each line, without brackets or commas between",
        )
    return read_delimited(path, names, most_rows)


def _refuse_others(head: bytes) -> None:
    """A file that is no table is refused as what it is."""
    signs = _TEXT
    if _CONTROL.search(head) or not head[:1].isascii():
        signs += _BINARY
    for begins, what, remedy in signs:
        if head.startswith(begins):
            raise InputError(f"this is {what}", field="file", remedy=remedy)
    if head.startswith(b"PK\x03\x04"):
        workbook = b"xl/" in head or b"[Content_Types].xml" in head or b"spreadsheet" in head
        what = "a spreadsheet (xlsx or ods)" if workbook else "a zip archive"
        raise InputError(
            f"this is {what}",
            field="file",
            remedy=_EXPORT if workbook else _UNPACK + "unzip FILE.zip",
        )
    if head[257:262] == b"ustar":
        raise InputError("this is a tar archive", field="file", remedy=_UNPACK + "tar -xf FILE.tar")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise InputError(
            "this is a web page or XML, not a table",
            field="file",
            remedy="download the file itself, not the page that shows it",
        )
    if b"\0" in head:
        raise InputError(
            "this is not UTF-8 text: it holds NUL bytes",
            field="file",
            remedy=f"{ACCEPTED}; UTF-16 is turned into UTF-8 by: iconv -f UTF-16 -t UTF-8 FILE",
        )
