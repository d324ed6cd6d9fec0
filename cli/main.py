"""The ``elasticnas`` command.

A command is imported when it is run: the list of all of them takes a moment, and client commands
need neither torch nor the server.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from elasticnas.cli import streams
from elasticnas.cli.failures import Tracebacks, failures_in_one_line
from elasticnas.cli.lazy import Later, lazy_group

COMMANDS = {
    "serve": Later(
        "elasticnas.cli.serving:serve",
        "Run the server, with a worker inside unless the queue is in Redis.",
    ),
    "coordinate": Later(
        "elasticnas.cli.coordinating:coordinate",
        "Drive searches, beside servers that only answer requests; as many as you like.",
    ),
    "worker": Later(
        "elasticnas.cli.working:work",
        "Take work off a Redis queue; one process for each device.",
    ),
    "create-bucket": Later(
        "elasticnas.cli.bucket:create_bucket",
        "Create the S3 bucket that ELASTICNAS_BLOBS_URL names, unless it is there.",
    ),
    "storage": Later(
        "elasticnas.cli.storage:app",
        "Look after the blob store of an installation; for operators.",
    ),
    "demo": Later(
        "elasticnas.cli.demo.command:demo",
        "Do the whole main job here, in a few minutes: train, search, choose, download, check.",
    ),
    "train": Later(
        "elasticnas.cli.training:train",
        "Fine-tune a super-network, ready for 'elasticnas supernet add OUTPUT'.",
    ),
    "supernet": Later("elasticnas.cli.supernets:app", "Super-networks on a server."),
    "dataset": Later("elasticnas.cli.datasets:app", "Validation data on a server."),
    "search": Later(
        "elasticnas.cli.searches:app",
        "Start a search and watch its front grow; or list, follow, pause and end searches.",
    ),
    "job": Later("elasticnas.cli.jobs:app", "Trainings and other jobs on a server."),
    "events": Later(
        "elasticnas.cli.events:events",
        "What happens to all searches and jobs, a line each, until Ctrl-C; --json: an object each.",
    ),
    "front": Later(
        "elasticnas.cli.picking:front",
        "The Pareto front of a search, as a table, CSV, JSON or a picture.",
    ),
    "weights": Later(
        "elasticnas.cli.picking:weights",
        "Download a subnet's weights as an ordinary checkpoint folder.",
    ),
    "subnet": Later(
        "elasticnas.cli.subnets:show_subnet",
        "One subnet of a search: what it measured, what it costs, and its choices.",
    ),
    "compare": Later(
        "elasticnas.cli.subnets:compare",
        "Two subnets of a search: where they differ, and whether that could be chance.",
    ),
    "exports": Later(
        "elasticnas.cli.subnets:exports",
        "In which formats a subnet's weights can be had or why not, and which are built.",
    ),
    "finetune": Later(
        "elasticnas.cli.finetuning:finetune",
        "Train a subnet on by itself, on a server's worker, and download the model.",
    ),
    "plot": Later(
        "elasticnas.cli.picking:plot",
        "Draw a search: its front, its history, what mattered, or the widths it has chosen.",
    ),
    "workers": Later(
        "elasticnas.cli.workers:workers",
        "The workers of a server: their devices, their memory, and what each is at.",
    ),
    "meta": Later(
        "elasticnas.cli.meta:meta",
        "What a server is and can do: version, tasks, costs, strategies, recipes, limits.",
    ),
    "settings": Later(
        "elasticnas.cli.settings:settings",
        "Show every setting: environment variable, value in force, its origin, and what it means.",
    ),
}
"""The commands by name, in the order of the list. Each line is the first of the command's help."""

app = typer.Typer(
    name="elasticnas",
    cls=lazy_group(COMMANDS),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(is_asked_for: bool) -> None:
    if is_asked_for:
        from importlib import metadata

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
    streams.prepare()
    with failures_in_one_line():
        # In its standalone mode Typer would print a usage error as a box of six lines.
        code = app(standalone_mode=False)
    sys.exit(code)


if __name__ == "__main__":
    run()
