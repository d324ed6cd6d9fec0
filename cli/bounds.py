"""Bounds on a front: ``--max-gflops``, ``--min-accuracy``, or by name ``--max perplexity=12``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.searches import EvaluationRead

Bounds = Mapping[str, float]
"""What was given, by the name of REST's parameter: ``{"max_gflops": 0.6}``."""

PARAMETER = "bounds"
NAMED = (
    *(f"max_{cost}" for cost in Cost),
    *("min_accuracy", "min_f1", "min_matthews_correlation"),
    *("min_pearson", "min_spearman", "min_combined_score"),
)
"""The bounds with an option of their own. The server knows every other metric, and its better side:
a perplexity is bounded by --max."""
SIDES = {"min": "Lower", "max": "Upper"}


def with_bounds(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for every bound, in place of its parameter ``bounds``."""
    hints = get_type_hints(command, include_extras=True)

    @wraps(command)
    def bounded(**given: Any) -> None:
        bounds = {name: given.pop(name) for name in NAMED}
        kept = {name: bound for name, bound in bounds.items() if bound is not None}
        for side in SIDES:
            kept |= dict(_bound(side, text) for text in given.pop(side) or ())
        command(**given, **{PARAMETER: kept})

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name == PARAMETER:
            parameters += [_option(name) for name in NAMED] + [_any_of(side) for side in SIDES]
        else:
            parameters.append(parameter.replace(annotation=hints[parameter.name]))
    # Typer reads a command's options off its signature and its annotations.
    bounded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    bounded.__annotations__ = {each.name: each.annotation for each in parameters}
    return bounded


def closest(front: list[EvaluationRead], bounds: Bounds) -> tuple[EvaluationRead, str]:
    """The point that misses the bounds by least, summed as shares of each, and by what it does.

    Of equal ones it is the first of ``front``, which holds at least one point.
    """
    point = min(front, key=lambda each: sum(_misses(each, bounds).values()))
    broken = _misses(point, bounds)
    return point, ", ".join(f"{_value(point, name):g} {_quantity(name)}" for name in broken)


def _option(name: str) -> inspect.Parameter:
    words = f"{SIDES[name.partition('_')[0]]} bound on {_quantity(name)}."
    option = typer.Option(f"--{name.replace('_', '-')}", help=words)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[float | None, option],
    )


def _any_of(side: str) -> inspect.Parameter:
    words = f"{SIDES[side]} bound on any metric or cost; repeatable."
    option = typer.Option(f"--{side}", metavar="NAME=VALUE", help=words)
    return inspect.Parameter(
        side,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[list[str] | None, option],
    )


def _bound(side: str, text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return f"{side}_{name.strip()}", float(value)
    except ValueError:
        raise InputError(
            "this is not a bound",
            field=f"--{side}",
            value=text,
            remedy="write a metric or cost, = and a number, such as 'perplexity=12'",
        ) from None


def option_of(name: str) -> str:
    """How a bound is written on the command line, without its value."""
    side, _, quantity = name.partition("_")
    return f"--{name.replace('_', '-')}" if name in NAMED else f"--{side} {quantity}"


def _misses(point: EvaluationRead, bounds: Bounds) -> dict[str, float]:
    """The bounds that a point breaks, with the share by which it does."""
    found: dict[str, float] = {}
    for name, bound in bounds.items():
        value = _value(point, name)
        excess = value - bound if name.startswith("max_") else bound - value
        if excess > 0:
            found[name] = excess / (abs(bound) or 1.0)
    return found


def _value(point: EvaluationRead, name: str) -> float:
    return float((dict(point.cost) | (point.metrics or {}))[name.partition("_")[2]])


def _quantity(name: str) -> str:
    return name.partition("_")[2].replace("_", " ")
