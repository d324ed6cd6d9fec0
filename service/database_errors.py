"""What an error of the database means: it is away for a while, its disk is full, or it is a fault.

The one place that knows the error codes of PostgreSQL and SQLite. Errors come from SQLAlchemy or,
bare, from the drivers.
"""

from __future__ import annotations

import sqlite3

import psycopg
import sqlalchemy.exc

DATABASE_ERRORS = (
    sqlalchemy.exc.DBAPIError,
    sqlalchemy.exc.TimeoutError,
    sqlalchemy.exc.DisconnectionError,
    psycopg.Error,
    sqlite3.Error,
)
"""For ``except``: every error of the database. Ask `is_transient` and raise the others again."""

POSTGRESQL_DISK_FULL = "53100"
POSTGRESQL_UNAVAILABLE = (
    "08",  # the connection failed
    "25006",  # read-only: a standby, or an operator's default_transaction_read_only
    "25P03",  # idle in a transaction for too long
    "25P04",  # the transaction took too long
    "40001",  # serialization failure
    "40P01",  # deadlock
    "53",  # out of memory or of connections
    "55P03",  # lock_timeout
    "57014",  # statement_timeout, or cancelled by an operator
    "57P",  # shutting down, crashed, starting up
    "58",  # the server's own files or network
)
"""SQLSTATEs, or their first letters, of what passes without a change to the statement."""

SQLITE_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_PERM,
    }
)
"""Primary result codes of a file that is locked, read-only or cannot be reached."""


def is_disk_full(error: BaseException | None) -> bool:
    """Whether a statement failed because the database's disk has no room left."""
    cause = _driver_error(error)
    code = _sqlite_code(cause)
    return code == sqlite3.SQLITE_FULL or _sqlstate(cause) == POSTGRESQL_DISK_FULL


def is_unavailable(error: BaseException | None) -> bool:
    """Whether the database cannot answer now and may later: away, locked, read-only, too busy.

    Nothing was committed, and the same statement may succeed when the database is back. A full
    disk is not among these: see `is_disk_full`.
    """
    if isinstance(error, sqlalchemy.exc.TimeoutError | sqlalchemy.exc.DisconnectionError):
        return True
    if not isinstance(error, DATABASE_ERRORS) or is_disk_full(error):
        return False
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.connection_invalidated:
        return True
    cause = _driver_error(error)
    if (state := _sqlstate(cause)) is not None:
        return state.startswith(POSTGRESQL_UNAVAILABLE)
    if (code := _sqlite_code(cause)) is not None:
        return code in SQLITE_UNAVAILABLE
    # A connection that cannot be made, or that broke, has no code.
    kinds = (sqlalchemy.exc.OperationalError, psycopg.OperationalError, sqlite3.OperationalError)
    return isinstance(error, kinds)


def is_transient(error: BaseException | None) -> bool:
    """Whether to try again later, because the database is unavailable or its disk is full."""
    return is_unavailable(error) or is_disk_full(error)


def summary(error: BaseException) -> str:
    """One line for the log: what the driver says, without the statement and its parameters."""
    cause = _driver_error(error) or error
    lines = str(cause).strip().splitlines() or [""]
    return f"{type(cause).__name__}: {lines[0]}"


def _driver_error(error: BaseException | None) -> BaseException | None:
    """The driver's own error inside SQLAlchemy's."""
    return error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error


def _sqlstate(error: BaseException | None) -> str | None:
    return error.sqlstate if isinstance(error, psycopg.Error) else None


def _sqlite_code(error: BaseException | None) -> int | None:
    """The primary result code: the low byte of the extended one."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None
