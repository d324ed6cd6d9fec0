"""``elasticnas front``, ``weights`` and ``plot``: what a search has found."""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from elasticnas.api_schemas.plots import PictureFormat, PlotKind
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.weights import WeightsFormat
from elasticnas.cli.bounds import Bounds, closest, option_of, with_bounds
from elasticnas.cli.connection import LOCAL, Server
from elasticnas.cli.front_table import front_table
from elasticnas.cli.identifiers import SearchId
from elasticnas.cli.output import AsJson, err, out, print_json
from elasticnas.client import ServerUnreachableError


@with_bounds
def front(
    search_id: SearchId,
    *,
    picture: Annotated[
        Path | None, typer.Option("--png", "--picture", help="Draw it to this PNG or SVG file.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: AsJson = False,
    bounds: Bounds,
    server: Server = LOCAL,
) -> None:
    """The Pareto front of a search, as a table, CSV, JSON or a picture."""
    if picture is not None:
        draw(server, search_id, PlotKind.FRONT, picture, field="--picture")
        err.print(f"drawn to {picture}")
    if as_csv:
        print(server.front_csv(search_id, **bounds), end="")
        return
    found = server.front(search_id, **bounds)
    if as_json:
        print_json(found)
    else:
        search = server.search(search_id)
        out.print(front_table(search, found.items, server.space(search.supernet_id)))


def plot(
    search_id: SearchId,
    kind: Annotated[PlotKind, typer.Option(help="What to draw.")] = PlotKind.FRONT,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="A .png or .svg; .vl.json: for Vega-Lite; .json: the data.",
            show_default="KIND.png",
        ),
    ] = None,
    server: Server = LOCAL,
) -> None:
    """Draw a search: its front, its history, what mattered, or the widths it has chosen."""
    target = output or Path(f"{kind.value}.png")
    draw(server, search_id, kind, target, field="--output")
    out.print(str(target))


def draw(server: Server, search_id: str, kind: PlotKind, target: Path, *, field: str) -> None:
    """Have the server draw, and write what it sends to ``target``.

    Raises:
        InputError: the ending of ``target`` is of no format, or its folder is not there.
    """
    endings = {each.ending: each for each in PictureFormat}
    fitting = [ending for ending in endings if target.name.lower().endswith(ending)]
    if not fitting:
        raise InputError(
            "a picture's file name says its format",
            field=field,
            value=target,
            remedy=f"let it end in {' or '.join(endings)}",
        )
    if not target.absolute().parent.is_dir():
        raise InputError("there is no such folder", field=field, value=target.parent)
    content = server.plot(search_id, kind, endings[max(fitting, key=len)])
    partial = target.with_name(target.name + ".partial")
    try:
        partial.write_bytes(content)
        partial.replace(target)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


@with_bounds
def weights(
    search_id: SearchId,
    number: Annotated[
        int | None, typer.Argument(metavar="SUBNET", help="The subnet's number.")
    ] = None,
    *,
    knee: Annotated[bool, typer.Option("--knee", help="The subnet at the front's knee.")] = False,
    bounds: Bounds,
    weights_format: Annotated[
        WeightsFormat, typer.Option("--format", help="transformers, peft or onnx.")
    ] = WeightsFormat.TRANSFORMERS,
    output: Annotated[
        Path | None, typer.Option(help="Folder to unpack to.", show_default="in this folder")
    ] = None,
    server: Server = LOCAL,
) -> None:
    """Download a subnet's weights as an ordinary checkpoint folder.

    Name the subnet by its number, or have the best one within bounds picked, or with --knee the
    one at the knee of what is within them.
    """
    if number is None:
        number = picked(server, search_id, bounds, knee=knee)
    elif bounds or knee:
        raise said_twice(number)
    target = output or Path(f"{search_id}-{number}-{weights_format.value}")
    if target.exists():
        raise InputError("the folder is there already", field="--output", value=target)
    out.print(str(download(server, search_id, number, weights_format, target)))


def said_twice(number: int) -> InputError:
    """The error about a subnet that is named by its number, and by more."""
    return InputError(
        "a number already says which subnet",
        field="SUBNET",
        value=number,
        remedy="give either a number, or bounds and --knee",
    )


def picked(server: Server, search_id: str, bounds: Bounds, *, knee: bool) -> int:
    """The best subnet within the bounds, or the one at the knee of those within them; told.

    Raises:
        InputError: nothing says which, or none is within the bounds.
    """
    if not bounds and not knee:
        raise InputError(
            "nothing says which subnet",
            field="SUBNET",
            remedy="give its number, --knee, or a bound such as --max-gflops 0.6 or --min f1=0.8",
        )
    within = server.front(search_id, **bounds)
    found = within.knee if knee else within.best
    if found is not None:
        err.print(f"subnet {found}, {'the knee' if knee else 'the best within the bounds'}")
        return found
    whole = server.front(search_id).items
    if not whole:
        raise InputError("nothing has been measured yet", field="SEARCH", value=search_id)
    near, misses = closest(whole, bounds)
    raise InputError(
        "no subnet on the front is within " + ("this bound" if len(bounds) == 1 else "all bounds"),
        field=", ".join(option_of(name) for name in bounds),
        value=", ".join(f"{bound:g}" for bound in bounds.values()),
        remedy=f"the closest is subnet {near.number} with {misses}",
    )


def download(
    server: Server, search_id: str, number: int, weights_format: WeightsFormat, target: Path
) -> Path:
    """Fetch the archive beside ``target`` and unpack its one folder as ``target``."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that it is renamed, and in the way of nothing; gone when that fails.
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as name:
        folder = Path(name)
        archive = folder / "weights.zip"
        columns = (*Progress.get_default_columns()[:1], BarColumn(), DownloadColumn())
        columns = (*columns, TransferSpeedColumn())
        # Where there is no terminal it would leave an empty line.
        with Progress(
            *columns, console=err, transient=True, disable=not err.is_terminal
        ) as progress:
            task = progress.add_task("weights", total=None)
            server.download_weights(
                search_id,
                number,
                weights_format.value,
                archive,
                lambda done, total: progress.update(task, completed=done, total=total),
            )
        try:
            with zipfile.ZipFile(archive) as zipped:
                zipped.extractall(folder / "unpacked")
            [unpacked] = (folder / "unpacked").iterdir()
        except (zipfile.BadZipFile, zlib.error, ValueError) as error:
            raise ServerUnreachableError(
                f"what came of subnet {number} is no archive of one folder: {error}; ask again"
            ) from error
        unpacked.replace(target)
    return target
