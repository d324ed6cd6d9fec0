"""The types of what a request may carry: one strict type each for strings, numbers and ids.

Every string is one that each database, JSON and a terminal can hold; every number one that a
database column can. What breaks the rules is refused with the field's name.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

MAX_NAME = 200
MAX_INT32 = 2**31 - 1
"""The largest number of an integer column of PostgreSQL."""
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def _storable(text: str) -> str:
    """PostgreSQL stores no NUL. (Halves of a surrogate pair pydantic refuses by itself.)"""
    if "\0" in text:
        raise ValueError("this text holds a NUL character, which cannot be stored; leave it out")
    return text


def is_whole(text: str) -> bool:
    """False when the text holds half of a surrogate pair, which UTF-8 cannot carry."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def storable(text: str) -> str:
    """Any text with what cannot be stored replaced: NUL, and halves of a surrogate pair."""
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.replace("\0", REPLACEMENT)


Name = Annotated[str, Field(max_length=MAX_NAME), AfterValidator(_storable)]
"""What a user calls a thing; also the name of a column or a class."""

LongText = Annotated[str, Field(max_length=4096), AfterValidator(_storable)]
"""A path, or several names in one form field."""

SeveralNames = Annotated[str, Field(max_length=1 << 20), AfterValidator(_storable)]
"""Names in one form field; there may be thousands of classes."""

FileText = Annotated[str, Field(max_length=1000), AfterValidator(_storable)]
"""A name that stands in a file of a checkpoint."""

Identity = Annotated[
    str,
    StringConstraints(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"),
]
"""An id as this service makes them."""

IdempotencyKey = Annotated[
    str, StringConstraints(min_length=1, max_length=255, pattern=r"^[\x20-\x7e]+$")
]
"""Printable ASCII, as the standard's draft has it (a quoted string of it)."""

CursorText = Annotated[
    str, StringConstraints(min_length=1, max_length=1500, pattern=r"^[A-Za-z0-9_-]+$")
]
"""Base64 for URLs, without padding."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
"""Neither infinite nor NaN: JSON has neither, though Python reads 1e999 as infinity."""

PositiveFinite = Annotated[Finite, Field(gt=0)]

Number = Annotated[int, Field(ge=0, le=MAX_INT32)]
"""The number of an evaluation within its search."""

WholeNumber = Annotated[int, Field(ge=-MAX_INT32, le=MAX_INT32)]

Choice = WholeNumber | Name | Annotated[tuple[WholeNumber | Name, ...], Field(max_length=1000)]
"""A choice of a dimension, or what somebody takes for one. Tuples are arrays in JSON."""
