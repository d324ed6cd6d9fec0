"""Values of options that are written in a small language of their own."""

from __future__ import annotations

import json
import re
from typing import Any

from elasticnas.api_schemas.problems import InputError

_CONSTRAINT = re.compile(r"\s*(\w+)\s*<=\s*([0-9.eE+-]+)\s*")


def constraint_of(text: str) -> dict[str, Any]:
    """A bound on a cost, such as ``gflops<=0.6``, as REST has it.

    Raises:
        InputError: it is written otherwise.
    """
    match = _CONSTRAINT.fullmatch(text)
    try:
        if match is not None:
            return {"cost": match[1], "max": float(match[2])}
    except ValueError:
        pass
    raise InputError(
        "this is not a constraint",
        field="--constraint",
        value=text,
        remedy="write a cost, <= and a number, such as 'gflops<=0.6'",
    )


def plateau_of(text: str) -> dict[str, Any]:
    """When a search stops, such as ``100:0.001``, as REST has it.

    Raises:
        InputError: it is written otherwise.
    """
    evaluations, _, gain = text.partition(":")
    try:
        return {"evaluations": int(evaluations), "min_gain": float(gain)}
    except ValueError:
        raise InputError(
            "this is not a plateau",
            field="--plateau",
            value=text,
            remedy="write evaluations, a colon and a gain of hypervolume, such as '100:0.001'",
        ) from None


def setting_of(text: str, field: str = "--set") -> tuple[str, Any]:
    """The name and the value of ``NAME=VALUE``; the value is JSON, or else a text.

    Raises:
        InputError: about the option ``field``: it has no name, or no equals sign.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise InputError("write it as NAME=VALUE", field=field, value=text)
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value.strip()
