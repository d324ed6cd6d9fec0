"""Bounds on what was measured, as query parameters: ``max_<cost>``, ``min_<metric>``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.fields import Finite
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.searches import EvaluationRead
from elasticnas.tasks import METRICS, Task

FINITE: TypeAdapter[float] = TypeAdapter(Finite)


def _parameter(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": {"type": "number"},
    }


def bounds_of_today() -> list[dict[str, Any]]:
    """The bounds on costs and on every registered metric, as OpenAPI describes parameters."""
    return [_parameter(f"max_{cost}", f"only points of at most this {cost}") for cost in Cost] + [
        _parameter(each.bound, f"only points no worse than this {each.name}")
        for each in METRICS.values()
    ]


@dataclass(frozen=True)
class Bounds:
    """Upper and lower bounds on costs and metrics: a point is no worse than any of them."""

    upper: Mapping[str, float]
    lower: Mapping[str, float]

    @classmethod
    def of(cls, query: Mapping[str, str], task: Task, others: Sequence[str]) -> Bounds:
        """The bounds among the query parameters, of which ``others`` are none.

        Raises:
            InputError: a parameter does not exist, is of another task, or is not a number.
        """
        valid = {f"max_{cost}": cost.value for cost in Cost}
        valid |= {metric.bound: metric.name for metric in task.metrics}
        upper: dict[str, float] = {}
        lower: dict[str, float] = {}
        for name, text in query.items():
            if name in others:
                continue
            if name not in valid:
                raise InputError(
                    "there is no such filter on what this search has measured",
                    field=name,
                    value=text,
                    remedy=f"valid are {', '.join([*others, *valid])}",
                )
            try:
                bound = FINITE.validate_python(text)
            except ValidationError as error:
                raise InputError("this is not a finite number", field=name, value=text) from error
            (upper if name.startswith("max_") else lower)[valid[name]] = bound
        return cls(upper, lower)

    def admit(self, point: EvaluationRead) -> bool:
        """True when the point lies within every bound."""
        values = dict(point.cost) | (point.metrics or {})
        return all(
            name in values and values[name] <= bound for name, bound in self.upper.items()
        ) and all(name in values and values[name] >= bound for name, bound in self.lower.items())
