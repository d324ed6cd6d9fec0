"""Standard output and error, as every command finds them."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def prepare() -> None:
    """Have both take every character, and be there: see `_prepared`."""
    sys.stdout, sys.stderr = _prepared(sys.stdout), _prepared(sys.stderr)


def _prepared(stream: TextIO | None) -> TextIO:
    """A stream that takes every character: what its encoding lacks is written as an escape.

    A process that was started without the stream (`>&-`) writes nowhere.
    """
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - for good
    if hasattr(stream, "reconfigure"):  # not what a test has put in its place
        stream.reconfigure(errors="backslashreplace")
    return stream
