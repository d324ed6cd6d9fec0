"""The one place where an exception becomes a line on standard error and an exit code."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

BAD_INPUT, FAILED, CANCELLED, INTERRUPTED, PIPE_CLOSED = 2, 1, 3, 130, 141
"""Exit codes. The last two are those of a shell: 128 and the number of the signal."""

_NO_ROOM = re.compile(r"No space left on device|os error 28\b")
"""How libraries that are not written in Python say that the disk is full."""


class ProcessDiedError(Exception):
    """A long-running process ended by itself, or could not begin; its log says why."""


class DemoFailedError(Exception):
    """A step of the demo did not do what it should."""


class Tracebacks:
    """When a traceback is shown beside the line.

    ``asked_for``: always. ``in_log``: for a fault of a process whose standard error is its log.
    """

    asked_for = False
    in_log = False


@contextmanager
def failures_in_one_line() -> Iterator[None]:
    """End the process with one line and an exit code when the block raises.

    Bad input, and a file, disk, database or port that cannot be used, are exit code 2; what failed
    though it was asked for rightly is 1. Ctrl-C is 130 and a reader that went away (`| head`) 141,
    without a line. Everything else is a fault of ElasticNAS, and is called so.
    """
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (Exception, SystemExit) as error:
        # Rich and Typer both make an exit of it.
        if isinstance(error, BrokenPipeError) or isinstance(error.__context__, BrokenPipeError):
            _leave_quietly()
        if isinstance(error, SystemExit):
            raise
        known = explained(error)
        if Tracebacks.asked_for or (known is None and Tracebacks.in_log):
            traceback.print_exception(error)
        _end(*(known or (_fault(error), FAILED)))


def explained(error: BaseException) -> tuple[str, int] | None:
    """What is expected to go wrong, as a line and an exit code; None for a fault of ElasticNAS."""
    match error:
        case typer.TyperException():
            return error.format_message(), error.exit_code
        case typer.Abort():
            return "the input ended", FAILED
    # What a mistyped command, and the list of commands, need not wait for.
    from elasticnas.api_schemas.problems import InputError
    from elasticnas.client.errors import ServerProblemError, ServerUnreachableError

    match error:
        case InputError():
            return str(error), BAD_INPUT
        case ServerProblemError():
            return error.problem.detail, BAD_INPUT if error.problem.status < 500 else FAILED
        case ServerUnreachableError() | DemoFailedError() | ProcessDiedError():
            return str(error), FAILED
        case OSError() if error.strerror is not None:
            where = [str(name) for name in (error.filename, error.filename2) if name is not None]
            return ": ".join([*(" -> ".join(where),) * bool(where), error.strerror]), BAD_INPUT
    if _NO_ROOM.search(str(error)):
        return "there is no room left on the disk", BAD_INPUT
    return None


def _fault(error: BaseException) -> str:
    again = (
        ""
        if Tracebacks.asked_for or Tracebacks.in_log
        else "; `elasticnas --debug ...` shows where"
    )
    what = f"{type(error).__name__}: {error}"
    return f"this is a fault of ElasticNAS, please report it: {what}{again}"


def _leave_quietly() -> NoReturn:
    """End as a program does that SIGPIPE kills; what is still buffered has no reader."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(PIPE_CLOSED)


def _end(message: str, code: int) -> NoReturn:
    print(f"elasticnas: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
