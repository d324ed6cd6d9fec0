"""The server that the client commands speak to."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.client import DEFAULT_SERVER, Client


def _connect(url: str) -> Client:
    return Client(url)


Server = Annotated[
    Client,
    typer.Option(
        "--server",
        parser=_connect,
        metavar="URL",
        envvar="ELASTICNAS_SERVER",
        help="The server to speak to.",
    ),
]

LOCAL: Client = DEFAULT_SERVER  # type: ignore[assignment]  # Typer parses a default like an option
