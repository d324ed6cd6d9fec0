"""The options by which lists are narrowed and sorted."""

from __future__ import annotations

from typing import Annotated

import typer

from elasticnas.api_schemas.listing import Sort

SoughtText = Annotated[
    str | None, typer.Option("--text", help="Only those with this in name, id, notes or a tag.")
]
SoughtTag = Annotated[str | None, typer.Option("--tag", help="Only those with this tag.")]
ListOrder = Annotated[Sort, typer.Option("--sort", help="The order.")]
