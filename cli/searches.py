"""``elasticnas search``, ``front`` and ``weights``."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from api_schemas.problems import InputError
from api_schemas.searches import SearchRead, SearchState
from api_schemas.weights import WeightsFormat
from cli.connection import LOCAL, Server
from cli.front_table import front_table
from cli.live import follow
from cli.output import AsJson, err, out, print_json, table

SearchId = Annotated[str, typer.Argument(metavar="SEARCH", help="The search's id.")]

app = typer.Typer(
    invoke_without_command=True,
    no_args_is_help=True,
    help="Start a search and watch its front grow; or list, follow, cancel and delete searches.",
)

_CONSTRAINT = re.compile(r"\s*(\w+)\s*<=\s*([0-9.eE+-]+)\s*")


@app.callback()
def search(
    context: typer.Context,
    supernet: Annotated[str | None, typer.Option(help="Id of the super-network.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Id of the validation data.")] = None,
    evaluations: Annotated[int, typer.Option(help="How many subnets to evaluate.")] = 200,
    seconds: Annotated[float | None, typer.Option(help="Stop after so long, too.")] = None,
    strategy: Annotated[str, typer.Option(help="random, nsga2, nsga3 or tpe.")] = "nsga2",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting of the strategy; repeatable."),
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(help="A metric or a cost; repeatable. Default: the dataset's metric, gflops."),
    ] = None,
    constraint: Annotated[
        list[str] | None, typer.Option(help="For example 'gflops<=0.6'; repeatable.")
    ] = None,
    max_length: Annotated[int | None, typer.Option(help="Tokens a row is truncated to.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    parallel: Annotated[int, typer.Option(help="Evaluations in flight at once.")] = 8,
    initial: Annotated[
        Path | None, typer.Option(exists=True, help="JSON list of subnets to evaluate first.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call it.")] = None,
    detach: Annotated[bool, typer.Option(help="Submit, and do not wait.")] = False,
    as_json: AsJson = False,
    server: Server = LOCAL,
) -> None:
    """Start a search and watch its front grow; or list, follow, cancel and delete searches."""
    if context.invoked_subcommand is not None:
        return
    if supernet is None or dataset is None:
        missing = "--supernet" if supernet is None else "--dataset"
        raise InputError(
            "a search needs this", field=missing, remedy="see 'elasticnas supernet list'"
        )
    request: dict[str, Any] = {
        "supernet_id": supernet,
        "dataset_id": dataset,
        "name": name,
        "max_length": max_length,
        "seed": seed,
        "objectives": objective or None,
        "constraints": [_constraint(text) for text in constraint or []],
        "strategy": {"name": strategy} | dict(_setting(text) for text in settings or []),
        "budget": {"evaluations": evaluations, "seconds": seconds},
        "parallel_evaluations": parallel,
    }
    if initial is not None:
        request["initial_subnets"] = _json_file(initial)
    started = server.start_search(request)
    if detach:
        if as_json:
            print_json(started)
        else:
            out.print(started.id)
        return
    _follow(server, started.id, as_json)


@app.command("follow")
def follow_search(search_id: SearchId, as_json: AsJson = False, server: Server = LOCAL) -> None:
    """Watch a search until it is over."""
    _follow(server, search_id, as_json)


@app.command("list")
def list_all(as_json: AsJson = False, server: Server = LOCAL) -> None:
    """All searches, the newest first."""
    searches = list(server.searches())
    if as_json:
        print_json(searches)
        return
    rows = table("", "id", "name", "state", "strategy", "done", "front", "hypervolume")
    for s in searches:
        done = f"{s.progress.completed + s.progress.failed}/{s.progress.budget_evaluations}"
        hypervolume = f"{s.hypervolume:.4f}"
        rows.add_row(
            s.id, s.name or "", s.state, s.strategy.name, done, str(s.front_size), hypervolume
        )
    out.print(rows)


@app.command("show")
def show(search_id: SearchId, server: Server = LOCAL) -> None:
    """Everything about a search, as JSON."""
    print_json(server.search(search_id))


@app.command("evaluations")
def evaluations_of(search_id: SearchId, server: Server = LOCAL) -> None:
    """Every evaluation of a search, one JSON object a line."""
    for evaluation in server.evaluations(search_id):
        print(evaluation.model_dump_json())


@app.command("cancel")
def cancel(search_id: SearchId, server: Server = LOCAL) -> None:
    """End a search; what it has measured stays."""
    out.print(server.cancel(search_id).state.value)


@app.command("delete")
def delete(search_id: SearchId, server: Server = LOCAL) -> None:
    """Forget a search that has ended."""
    server.delete("searches", search_id)


def front(
    search_id: SearchId,
    png: Annotated[
        Path | None, typer.Option("--png", "--picture", help="Draw it to this PNG or SVG file.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: AsJson = False,
    max_gflops: Annotated[float | None, typer.Option(help="Only subnets up to this.")] = None,
    min_accuracy: Annotated[float | None, typer.Option(help="Only subnets from this.")] = None,
    server: Server = LOCAL,
) -> None:
    """The Pareto front of a search, as a table, CSV, JSON or a picture."""
    if as_csv:
        print(server.front_csv(search_id), end="")
        return
    asked = {"max_gflops": max_gflops, "min_accuracy": min_accuracy}
    found = server.front(search_id, **{k: v for k, v in asked.items() if v is not None})
    if as_json:
        print_json(found)
    else:
        out.print(front_table(server.search(search_id), found.items))
    if png is not None:
        from cli.front_plot import plot_front

        plot_front(server.search(search_id), list(server.evaluations(search_id)), png)
        err.print(f"drawn to {png}")


def weights(
    search_id: SearchId,
    number: Annotated[int, typer.Argument(metavar="SUBNET", help="The subnet's number.")],
    weights_format: Annotated[
        WeightsFormat, typer.Option("--format", help="transformers or peft.")
    ] = WeightsFormat.TRANSFORMERS,
    output: Annotated[
        Path | None, typer.Option(help="Folder to unpack to.", show_default="in this folder")
    ] = None,
    server: Server = LOCAL,
) -> None:
    """Download a subnet's weights as an ordinary checkpoint folder."""
    target = output or Path(f"{search_id}-{number}-{weights_format.value}")
    if target.exists():
        raise InputError("the folder is there already", field="--output", value=target)
    out.print(str(download(server, search_id, number, weights_format, target)))


def download(
    server: Server, search_id: str, number: int, weights_format: WeightsFormat, target: Path
) -> Path:
    """Fetch the archive beside ``target`` and unpack its one folder as ``target``."""
    target.parent.mkdir(parents=True, exist_ok=True)
    archive = target.with_name(target.name + ".zip")
    columns = (*Progress.get_default_columns()[:1], BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), console=err, transient=True) as progress:
        task = progress.add_task("weights", total=None)
        server.download_weights(
            search_id,
            number,
            weights_format.value,
            archive,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    unpacking = target.with_name(target.name + ".unpacking")
    with zipfile.ZipFile(archive) as zipped:
        zipped.extractall(unpacking)
    [folder] = unpacking.iterdir()
    folder.replace(target)
    unpacking.rmdir()
    archive.unlink()
    return target


def _follow(server: Server, search_id: str, as_json: bool) -> None:
    try:
        ended = follow(server, search_id, err)
    except KeyboardInterrupt:
        err.print(
            f"\nthe search goes on; 'elasticnas search follow {search_id}' watches it again, "
            f"'elasticnas search cancel {search_id}' ends it",
            soft_wrap=True,
        )
        raise typer.Exit(0) from None
    if as_json:
        print_json(ended)
    elif ended.state is SearchState.COMPLETED:
        out.print(front_table(ended, server.front(search_id).items))
        out.print(f"search {search_id}")
    if ended.state is SearchState.FAILED:
        err.print(f"the search failed: {_reason(ended)}", soft_wrap=True)
        raise typer.Exit(1)


def _reason(ended: SearchRead) -> str:
    return ended.error.detail if ended.error is not None else str(ended.stop_reason)


def _constraint(text: str) -> dict[str, Any]:
    match = _CONSTRAINT.fullmatch(text)
    try:
        if match is not None:
            return {"cost": match[1], "max": float(match[2])}
    except ValueError:
        pass
    raise InputError(
        "this is not a constraint",
        field="--constraint",
        value=text,
        remedy="write a cost, <= and a number, such as 'gflops<=0.6'",
    )


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError("write it as NAME=VALUE", field="--set", value=text)
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value.strip()


def _json_file(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"not valid JSON: {error}", field="--initial", value=path) from error
