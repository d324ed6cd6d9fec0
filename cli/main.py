"""The ``elasticnas`` command.

Client commands start fast: what imports torch or the server is imported when it is run.
"""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Annotated

import typer

from elasticnas.cli import datasets, jobs, picking, searches, storage, supernets
from elasticnas.cli.bucket import create_bucket
from elasticnas.cli.coordinating import coordinate
from elasticnas.cli.demo.command import demo
from elasticnas.cli.failures import Tracebacks, failures_in_one_line
from elasticnas.cli.serving import serve
from elasticnas.cli.settings import settings
from elasticnas.cli.training import train
from elasticnas.cli.working import work

app = typer.Typer(
    name="elasticnas",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve)
app.command("coordinate")(coordinate)
app.command("worker")(work)
app.command("create-bucket")(create_bucket)
app.add_typer(storage.app, name="storage")
app.command("demo")(demo)
app.command("train")(train)
app.add_typer(supernets.app, name="supernet")
app.add_typer(datasets.app, name="dataset")
app.add_typer(searches.app, name="search")
app.add_typer(jobs.app, name="job")
app.command("front")(picking.front)
app.command("weights")(picking.weights)
app.command("plot")(picking.plot)
app.command("settings")(settings)


def _print_version(is_asked_for: bool) -> None:
    if is_asked_for:
        print(f"elasticnas {metadata.version('elasticnas')}")
        raise typer.Exit


def _show_tracebacks(is_asked_for: bool) -> None:
    Tracebacks.asked_for = is_asked_for


@app.callback()
def elasticnas(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            callback=_show_tracebacks,
            envvar="ELASTICNAS_DEBUG",
            help="Show a traceback beside the line that says what went wrong.",
        ),
    ] = False,
) -> None:
    """Neural architecture search as a service for fine-tuned transformer super-networks."""


def run() -> None:
    """Run the command line; see `failures_in_one_line` for how it ends."""
    with failures_in_one_line():
        # In its standalone mode Typer would print a usage error as a box of six lines.
        code = app(standalone_mode=False)
    sys.exit(code)


if __name__ == "__main__":
    run()
