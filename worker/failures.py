"""What went wrong with a message, as a document for the service."""

from __future__ import annotations

import errno
import logging
import traceback

import torch

from elasticnas.api_schemas.fields import storable
from elasticnas.api_schemas.problems import InputError, Problem
from elasticnas.worker.log_tail import TAIL

log = logging.getLogger(__name__)

TRACEBACK_CHARACTERS = 4000


def as_problem(error: Exception, title: str, kind: str) -> Problem:
    """The user's to mend (422), a disk without room (507), or a fault with its traceback (500)."""
    if isinstance(error, InputError):
        return error.as_problem(title=title, kind=kind)
    log.exception(title, exc_info=error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Problem(
            type="/problems/storage-full",
            title="The disk is full",
            status=507,
            detail=storable(f"a worker's disk has no room left: {error}; make room, then resume"),
        )
    trace = "".join(traceback.format_exception(error))
    return fault(title, kind, f"{type(error).__name__}: {error}", trace)


def fault(title: str, kind: str, detail: str, trace: str) -> Problem:
    """A fault, with the end of its traceback and of the log; what JSON cannot hold is replaced."""
    tail = TAIL.read()
    logged = {} if tail is None else {"log_tail": storable(tail)}
    return Problem(
        type=f"/problems/{kind}",
        title=title,
        status=500,
        detail=storable(detail),
        traceback=storable(trace[-TRACEBACK_CHARACTERS:]),
        **logged,
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on the device or on the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
