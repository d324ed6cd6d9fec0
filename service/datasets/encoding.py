"""What is wrong with bytes that should be UTF-8 text."""

from __future__ import annotations

from pathlib import Path

from elasticnas.api_schemas.problems import InputError

REMEDY = "save the file as UTF-8, such as by: iconv -f WINDOWS-1252 -t UTF-8 FILE"


def not_utf8(error: UnicodeDecodeError, where: str) -> InputError:
    """The error that names the place of bytes that are not UTF-8, and shows them."""
    found = error.object[max(0, error.start - 10) : error.start + 10]
    return InputError("this is not UTF-8 text", field=where, value=repr(found), remedy=REMEDY)


def first_line_not_utf8(path: Path) -> InputError:
    """The same for a file of which some line is not UTF-8."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError as error:
                return not_utf8(error, f"line {number}")
    return InputError("this is not UTF-8 text", field="file", remedy=REMEDY)
