"""CSV and tab-separated files with a header. Every value is text."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from elasticnas.api_schemas.problems import InputError
from elasticnas.service.datasets.encoding import first_line_not_utf8
from elasticnas.tasks.columns import Columns, require_columns, require_room, shown

csv.field_size_limit(2**31 - 1)  # the size of the whole upload is bounded; a text may be long

_TAB_FIELD = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|[^"\t]*)(?:\t|\Z)')
"""A tab-separated value as a CSV writer writes it: enclosed in quotes, or without any."""
_ENCLOSED = re.compile(r'"[^"]*(?:"|\Z)')
_SAID = re.compile(r'"?sep=([^\w\s"]|\t)"?', re.IGNORECASE)
"""The first line by which a file tells Excel what separates its values."""
_SIGNS = {",": "a comma", ";": "a semicolon"}
_BREAKS = ("\t", "\n", "\r")
"""What cannot stand in a tab-separated value without quotes around it."""
_NEEDS_QUOTES = ('"', *_BREAKS)
_EXCEL_ENCLOSES = (",", *_NEEDS_QUOTES)
"""What Excel encloses a value for when it saves "Text (tab delimited)"."""
_LINE_END = re.compile(r"\r\n|\r|\n")


def read_delimited(path: Path, names: Sequence[str], most_rows: int | None) -> Columns:
    """Read the named columns; separated by tabs if the header has one, else by commas.

    By semicolons if it has only those, as where commas are in decimals; or by what a first line
    ``sep=;`` says, which is for Excel. Spaces around a column's name do not count.

    Raises:
        InputError: a row has more or fewer values than the header, or its quotes do not match.
    """
    layout = _layout(path)
    is_tabs = layout.delimiter == "\t"
    quoted = not is_tabs or _has_quoted_values(path, layout)
    records = _records(path, layout, quoted=quoted)
    _, header = next(records, (1, []))
    header = [name if name in names else name.strip() for name in header]
    require_columns(names, header, "the header")
    places = {name: header.index(name) for name in names}
    values: dict[str, list[str]] = {name: [] for name in names}
    for row, (line, record) in enumerate(records, 1):
        if len(record) != len(header):
            raise InputError(
                f"the row (line {line} of the file) has {len(record)} values, and the header has "
                f"{len(header)}",
                field=f"row {row}",
                value=shown(record),
                remedy="add or remove values, or leave the row out"
                if is_tabs
                else f"enclose a value that holds {_SIGNS.get(layout.delimiter, 'one')} in double "
                "quotes, or leave the row out",
            )
        for name, place in places.items():
            values[name].append(record[place])
        require_room(row, most_rows)
    return Columns(values, "row", has_types=False)


@dataclass(frozen=True)
class _Layout:
    """What separates values, and how many lines there are before the header."""

    delimiter: str
    before_header: int


def _layout(path: Path) -> _Layout:
    before = 0
    with path.open(encoding="utf-8-sig", newline="", errors="replace") as file:
        for line in file:
            if found := _SAID.fullmatch(line.rstrip("\r\n")):
                return _Layout(found[1], before + 1)
            if not line.strip():
                before += 1
                continue
            outside = _ENCLOSED.sub("", line)
            if "\t" in line:
                return _Layout("\t", before)
            return _Layout(";" if ";" in outside and "," not in outside else ",", before)
    return _Layout(",", before)


def _records(path: Path, layout: _Layout, *, quoted: bool) -> Iterator[tuple[int, list[str]]]:
    """The header and every row, each with the line that it begins at; blank lines are none."""
    reader = csv.reader(
        islice(_lines(path), layout.before_header, None),
        delimiter=layout.delimiter,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=True,
    )
    count = 0
    while True:
        line = layout.before_header + reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(
                f"{_meaning(error)} (line {line} of the file)",
                field=f"row {count}" if count else "the header",
                remedy="enclose such a value in double quotes, and double those inside it",
            ) from error
        if record:
            yield line, record
            count += 1


def _meaning(error: csv.Error) -> str:
    """What the reader's words say of a file, which were written for programmers."""
    if "unexpected end of data" in str(error):
        return "the quotes of a value are opened and never closed"
    if "expected after" in str(error):
        return "a value goes on after its closing quote"
    return f"this is not CSV: {error}"


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            for number, line in enumerate(file, 1):
                if "\0" in line:
                    raise InputError(
                        "this is not text: it holds a NUL character", field=f"line {number}"
                    )
                yield line
        except UnicodeDecodeError as error:
            raise first_line_not_utf8(path) from error


class _Taken:
    """Lines, and those of them that were taken since the last look."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self._taken.append(line)
            yield line

    def look(self) -> str:
        taken, self._taken = "".join(self._taken), []
        return taken.rstrip("\r\n")


def _has_quoted_values(path: Path, layout: _Layout) -> bool:
    """Whether quotes in a tab-separated file enclose values, as a CSV writer's do.

    Others, GLUE's among them, write quotes as they stand in the text. A CSV writer encloses every
    value that holds a quote, and doubles it; so a single value with other quotes says that all of
    them are text. So does a row that has as many values as the header without any quotes, and
    would have another number with them, or a tab or a line break in a value. Where there is none,
    the quotes enclose values if some value could not have been written without, if they enclose
    the header or a whole column, or if they enclose several values, which are all that have a
    comma: Excel encloses those.
    """
    with path.open("rb") as file:
        if not any(b'"' in line for line in file):
            return False
    lines = _Taken(islice(_lines(path), layout.before_header, None))
    columns: set[int] | None = None  # those that are enclosed in every row so far
    width, is_needed, excel = 0, False, _ByExcel()
    try:
        for row in csv.reader(lines, delimiter="\t", strict=True):
            record = lines.look()
            if not record:
                continue
            values = _enclosed_values(record)
            if values is None:
                return False
            excel.add(row, values)
            if not width:
                width, is_needed = len(row), bool(values)
                continue
            is_plain = all(line.count("\t") == width - 1 for line in _LINE_END.split(record))
            if len(row) != width:
                return not is_plain
            if is_plain and _some_hold(values, _BREAKS):
                return False
            columns = set(values) if columns is None else columns & set(values)
            is_needed = is_needed or _some_hold(values, _NEEDS_QUOTES)
    except csv.Error:
        return False
    return is_needed or bool(columns) or excel.is_likely


@dataclass
class _ByExcel:
    """Whether the enclosed values are those that Excel would enclose, and no others."""

    enclosed: int = 0
    fits: bool = True

    def add(self, row: Sequence[str], values: Mapping[int, str]) -> None:
        self.enclosed += len(values)
        self.fits = (
            self.fits
            and all(_some_hold({0: value}, _EXCEL_ENCLOSES) for value in values.values())
            and not any("," in value for place, value in enumerate(row) if place not in values)
        )

    @property
    def is_likely(self) -> bool:
        """A single value may be in quotes by chance."""
        return self.fits and self.enclosed > 1


def _some_hold(values: Mapping[int, str], signs: Sequence[str]) -> bool:
    return any(sign in value for value in values.values() for sign in signs)


def _enclosed_values(record: str) -> dict[int, str] | None:
    """What quotes enclose, by column; None where a quote is no CSV writer's."""
    if '"' not in record:
        return {}
    values: dict[int, str] = {}
    column = at = 0
    while True:
        found = _TAB_FIELD.match(record, at)
        if found is None:
            return None
        if found[1] is not None:
            values[column] = found[1]
        if found.end() == len(record):
            return values
        column, at = column + 1, found.end()
