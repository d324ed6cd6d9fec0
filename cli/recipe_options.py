"""The options that every command has which runs a recipe, here or as a server's job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

OF_RECIPE = "the recipe's"

Output = Annotated[Path | None, typer.Option(help="Folder to write the super-network to.")]
TaskSettingsJson = Annotated[
    str | None, typer.Option(metavar="JSON", help="Of the rows' task, such as its prompt.")
]
MaxLength = Annotated[
    int | None, typer.Option(min=4, help="Tokens a row is truncated to.", show_default=OF_RECIPE)
]
Seed = Annotated[int, typer.Option()]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:<index> or mps.")]
Resume = Annotated[bool, typer.Option(help="Go on with what was begun in --output.")]
DatasetId = Annotated[
    str | None, typer.Option(help="With --server: a dataset's id, in place of --data.")
]
SupernetName = Annotated[
    str | None, typer.Option(help="With --server: what to call the super-network.")
]
Detach = Annotated[bool, typer.Option("--detach", help="With --server: start it, and do not wait.")]
