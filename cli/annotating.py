"""``note``: a name, notes and tags on what a server holds."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from elasticnas.api_schemas.problems import InputError
from elasticnas.cli.connection import Server
from elasticnas.client.client import Annotatable

NewName = Annotated[str | None, typer.Option("--name", help="A new name.")]
NewNotes = Annotated[
    str | None,
    typer.Option("--notes", help="Notes, in place of those there are; '' for none."),
]
NewTags = Annotated[
    list[str] | None,
    typer.Option("--tag", help="A tag, in place of those there are; repeatable."),
]
NoTags = Annotated[bool, typer.Option("--no-tags", help="Take all tags off.")]


def annotate(
    server: Server,
    kind: Annotatable,
    identifier: str,
    *,
    name: str | None,
    notes: str | None,
    tags: list[str] | None,
    no_tags: bool,
) -> None:
    """Write what is given; what is None stays, and an empty text is none.

    Raises:
        InputError: nothing is given, or tags and that there are none.
    """
    if tags and no_tags:
        raise InputError(
            "these tags are put on and all are taken off",
            field="--no-tags",
            remedy="give --tag, which replaces those there are, or --no-tags",
        )
    changes: dict[str, Any] = {}
    if name is not None:
        changes["name"] = name or None
    if notes is not None:
        changes["notes"] = notes or None
    if tags or no_tags:
        changes["tags"] = tags or []
    if not changes:
        raise InputError("there is nothing to write", field="--name, --notes, --tag or --no-tags")
    server.annotate(kind, identifier, **changes)
