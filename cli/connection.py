"""The server that the client commands speak to."""

from __future__ import annotations

from typing import Annotated

import typer

from elasticnas.api_schemas.problems import InputError
from elasticnas.cli.failures import BAD_INPUT
from elasticnas.client import DEFAULT_SERVER, Client


def _connect(url: str) -> Client:
    try:
        return Client(url)
    except InputError as error:
        # Of a ValueError, Typer would say that the option's value is at fault, twice over.
        refused = typer.TyperException(str(error))
        refused.exit_code = BAD_INPUT
        raise refused from error


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

OtherServer = Annotated[
    Client | None,
    typer.Option(
        "--server",
        parser=_connect,
        metavar="URL",
        help="Have a worker of this server do it.",
        show_default="here, without a server",
    ),
]
"""A server for what is done on this machine unless one is named."""

LOCAL: Client = DEFAULT_SERVER  # type: ignore[assignment]  # Typer parses a default like an option
