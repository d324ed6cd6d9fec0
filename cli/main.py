"""The ``elasticnas`` command.

Client commands start fast: what imports torch or the server is imported when it is run.
"""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Annotated, NoReturn

import typer

from api_schemas.problems import InputError
from cli import datasets, picking, searches, serving, storage, supernets
from cli.bucket import create_bucket
from cli.client import ServerProblemError, ServerUnreachableError
from cli.demo.command import DemoFailedError, demo
from cli.settings import settings
from cli.training import train

app = typer.Typer(
    name="elasticnas",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("serve")(serving.serve)
app.command("coordinate")(serving.coordinate)
app.command("worker")(serving.work)
app.command("create-bucket")(create_bucket)
app.add_typer(storage.app, name="storage")
app.command("demo")(demo)
app.command("train")(train)
app.add_typer(supernets.app, name="supernet")
app.add_typer(datasets.app, name="dataset")
app.add_typer(searches.app, name="search")
app.command("front")(picking.front)
app.command("weights")(picking.weights)
app.command("plot")(picking.plot)
app.command("settings")(settings)


def _print_version(is_asked_for: bool) -> None:
    if is_asked_for:
        print(f"elasticnas {metadata.version('elasticnas')}")
        raise typer.Exit


@app.callback()
def elasticnas(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Neural architecture search as a service for fine-tuned transformer super-networks."""


def run() -> None:
    """Run the command line: exit code 2 for bad input, 1 for what failed, each with one line."""
    try:
        # In its standalone mode Typer would print a usage error as a box of six lines.
        code = app(standalone_mode=False)
    except typer.TyperException as error:
        _fail(error.format_message(), error.exit_code)
    except typer.Abort:
        _fail("aborted", 1)
    except InputError as error:
        _fail(str(error), 2)
    except ServerProblemError as error:
        _fail(error.problem.detail, 2 if error.problem.status < 500 else 1)
    except (ServerUnreachableError, DemoFailedError, serving.ProcessDiedError) as error:
        _fail(str(error), 1)
    else:
        sys.exit(code)


def _fail(message: str, code: int) -> NoReturn:
    print(f"elasticnas: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    run()
