"""All SQL is in repositories, read off the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import elasticnas.service

ROOM = Path(next(iter(elasticnas.service.__path__)))
WORDS = {
    *("select", "insert", "update", "delete", "func", "text", "union", "exists", "case", "tuple_"),
    *("and_", "or_", "null", "literal"),
}
"""What statements are built with."""
METHODS = {
    *("execute", "scalar", "scalars", "stream", "stream_scalars", "get", "get_one", "add"),
    *("add_all", "delete", "flush", "merge", "refresh", "expunge", "query"),
}
"""What a session does with the database."""


def may_hold_sql(path: Path) -> bool:
    """Repositories; and what the database itself is made of: engine, clock, tables, migrations."""
    if "migrations" in path.parts:
        return True
    return path.name.endswith("repository.py") or path.name in (
        *("database.py", "database_lock.py", "postgresql.py", "tables.py"),
    )


def sql_in(source: str) -> Iterator[tuple[int, str]]:
    """The lines that build or send a statement."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy"):
            yield from ((node.lineno, each.name) for each in node.names if each.name in WORDS)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of = node.func.value
            if isinstance(of, ast.Name) and "session" in of.id and node.func.attr in METHODS:
                yield node.lineno, f"{of.id}.{node.func.attr}"


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(ROOM.rglob("*.py")) if not may_hold_sql(path.relative_to(ROOM))],
    ids=lambda path: str(path.relative_to(ROOM)),
)
def test_what_is_no_repository_holds_no_sql(path: Path):
    assert list(sql_in(path.read_text())) == []


def test_sql_is_recognised():
    """Else the test above would hold of everything."""
    found = sql_in(
        "from sqlalchemy import select\nrow = session.get(Row, 1)\nvalue = body.get('a')"
    )
    assert sorted(found) == [(1, "select"), (2, "session.get")]
