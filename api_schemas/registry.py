"""Named values that any package can add to: families, formats, tasks, strategies, recipes.

A package of one's own registers what it brings when it is imported; the setting ``plugins`` names
the modules that every process of ElasticNAS imports as it starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, TypeVar

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from elasticnas.api_schemas.problems import InputError

Value = TypeVar("Value")


class Registry(Generic[Value]):
    """Values by name, in the order in which they were registered.

    ``concept`` is what errors call one of them, such as "task".
    """

    def __init__(self, concept: str) -> None:
        self._concept = concept
        self._values: dict[str, Value] = {}

    def register(self, name: str, value: Value) -> Value:
        """Add a value under a name of its own; the same value may come twice.

        Raises:
            ValueError: another value has this name.
        """
        if self._values.setdefault(name, value) is not value:
            raise ValueError(f"there is a {self._concept} named {name!r} already")
        return value

    def find(self, name: object, *, field: str) -> Value:
        """The value of a name that a user gave.

        Raises:
            InputError: there is none.
        """
        if not isinstance(name, str) or name not in self._values:
            raise InputError(
                f"there is no such {self._concept}",
                field=field,
                value=name,
                remedy=f"valid are {', '.join(self._values)}",
            )
        return self._values[name]

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def values(self) -> tuple[Value, ...]:
        """All values."""
        return tuple(self._values.values())


@dataclass(frozen=True)
class NameIn:
    """Annotates a text that must be a name in a registry: OpenAPI lists those there are by then."""

    registry: Registry[Any]

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The schema of the text, with every name."""
        return {**handler(schema), "enum": list(self.registry)}


_plugins: dict[str, None] = {}


def load_plugins(modules: Sequence[str]) -> None:
    """Import the modules that register what does not come with ElasticNAS.

    Raises:
        InputError: one of them cannot be imported, or what it registers has a name that is taken.
    """
    for module in modules:
        try:
            import_module(module)
        except Exception as error:  # a plug-in may raise anything
            raise InputError(
                f"this module cannot be imported: {error or type(error).__name__}",
                field="plugins",
                value=module,
                remedy="install its package into this environment, or take it out of the setting",
            ) from error
        _plugins[module] = None


def loaded_plugins() -> tuple[str, ...]:
    """The modules that this process has loaded; one that it starts loads them, too."""
    return tuple(_plugins)
