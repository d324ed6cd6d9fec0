"""Commands that are imported when they are run, or are asked for their own help."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Later(NamedTuple):
    """A command by where it is, as ``module:name``, and the line that it has in a list."""

    target: str
    line: str


class LazyGroup(TyperGroup):
    """A group that knows of its commands what is in its list; see `lazy_group`."""

    later: Mapping[str, Later] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, line) in self.later.items():
            self.add_command(TyperCommand(name, help=line))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that the arguments name, imported."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else imported(name, self.later[name]), rest


def lazy_group(commands: Mapping[str, Later]) -> type[TyperGroup]:
    """A group of these commands, for ``typer.Typer(cls=...)``."""
    return type("Group", (LazyGroup,), {"later": commands})


def imported(name: str, command: Later) -> Any:
    """The command itself, made of a function or of a Typer."""
    module, _, attribute = command.target.partition(":")
    found = getattr(import_module(module), attribute)
    alone = typer.Typer(add_completion=False)
    alone.callback()(lambda: None)  # so that it is a group, even of one command
    if isinstance(found, typer.Typer):
        alone.add_typer(found, name=name)
    else:
        alone.command(name)(found)
    group = typer.main.get_command(alone)
    assert isinstance(group, TyperGroup)
    return group.commands[name]
