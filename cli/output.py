"""Where output goes: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from elasticnas.cli import streams

streams.prepare()

# What is piped or redirected is not cut to the width of a terminal that is not there.
out = Console(width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def print_json(value: BaseModel | Iterable[BaseModel]) -> None:
    """A model as JSON, or several as a list; nothing else on the line."""
    if isinstance(value, BaseModel):
        print(json_text(value.model_dump(mode="json"), indent=2))
    else:
        print(json_text([item.model_dump(mode="json") for item in value], indent=2))


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON in the characters that standard output can carry; the others as JSON's own escapes."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent)
    return text


def number_text(value: float) -> str:
    """A number for a table: whole ones in groups of three digits, others with four decimals."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def size_text(size: int) -> str:
    """So many bytes in the unit that reads best, such as ``134.2 MB``."""
    return decimal(size)


def table(title: str, *columns: str) -> Table:
    """A plain table: the first column, often an id, is never cut; the others are right-aligned."""
    made = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        made.add_column(column, justify="right" if index else "left", no_wrap=index == 0)
    return made
