"""A user's regular expressions: checked before any work, and searched within a time limit."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from elasticnas.api_schemas.problems import InputError

LONGEST_EXPRESSION = 1000
MOST_REPETITIONS = 10_000
"""The counts of an expression, multiplied: ``regex`` writes ``(?:a{99}){99}`` out, however long."""
EXPRESSION_SECONDS = 0.25
"""How long a user's expression may search one text."""

_COUNT = re.compile(r"\{(\d*),?(\d*)\}", re.ASCII)


def require_expression(pattern: str, field: str) -> None:
    """The pattern is one that is read, and not too long.

    Raises:
        InputError: about ``field``: it is none, or too long.
    """
    if len(pattern) > LONGEST_EXPRESSION:
        raise _no_expression(pattern, field, f"it has more than {LONGEST_EXPRESSION} characters")
    if _repetitions(pattern) > MOST_REPETITIONS:
        raise _no_expression(pattern, field, f"its counts multiply to more than {MOST_REPETITIONS}")
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise _no_expression(pattern, field, str(error)) from error


def searched(pattern: str, field: str, search: Callable[[Any, float], Any]) -> Any:
    """What ``search`` makes of the compiled pattern and of the seconds that it may take.

    Raises:
        InputError: about ``field``: the expression takes too long, or is none to ``regex``.
    """
    import regex  # only where texts are generated; unlike `re` it can be given a time limit

    try:
        return search(regex.compile(pattern), EXPRESSION_SECONDS)
    except TimeoutError as error:
        raise InputError(
            f"the expression searched one text for more than {EXPRESSION_SECONDS} s",
            field=field,
            value=pattern,
            remedy="take out what repeats a repetition, such as (a+)+",
        ) from error
    except (regex.error, RecursionError) as error:
        raise _no_expression(pattern, field, str(error)) from error


def _repetitions(pattern: str) -> int:
    """How often a part can be written out at most, if all counts stood within each other."""
    counts = [max(int(each or 1) for each in found.groups()) for found in _COUNT.finditer(pattern)]
    return math.prod(max(count, 1) for count in counts)


def _no_expression(pattern: str, field: str, why: str) -> InputError:
    return InputError(
        f"this is no regular expression that is read: {why}", field=field, value=pattern[:200]
    )
