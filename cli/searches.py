"""``elasticnas search`` and what is below it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from elasticnas.api_schemas.listing import SearchSort
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.searches import SearchRead, SearchState
from elasticnas.cli.annotating import NewName, NewNotes, NewTags, NoTags, annotate
from elasticnas.cli.connection import LOCAL, Server
from elasticnas.cli.event_line import event_line
from elasticnas.cli.failures import INTERRUPTED
from elasticnas.cli.front_table import front_table
from elasticnas.cli.identifiers import SearchId
from elasticnas.cli.json_file import json_object, read_json, read_model_dict
from elasticnas.cli.list_options import SoughtTag, SoughtText
from elasticnas.cli.live import follow
from elasticnas.cli.option_values import constraint_of, plateau_of, setting_of
from elasticnas.cli.output import AsJson, err, json_text, out, print_json, table
from elasticnas.cli.results import show_evaluations, show_points

app = typer.Typer(
    invoke_without_command=True,
    no_args_is_help=True,
    help="Start a search and watch its front grow; or list, follow, pause and end searches.",
)


@app.callback()
def search(
    context: typer.Context,
    supernet: Annotated[str | None, typer.Option(help="Id of the super-network.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Id of the validation data.")] = None,
    evaluations: Annotated[int, typer.Option(help="How many subnets to evaluate.")] = 200,
    seconds: Annotated[float | None, typer.Option(help="Stop after so long, too.")] = None,
    strategy: Annotated[
        str,
        typer.Option(
            help="pareto, linas, hill-climbing, boshnas, nsga2, nsga3, tpe, gp or random."
        ),
    ] = "pareto",
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
    task_settings: Annotated[
        str | None,
        typer.Option(
            metavar="JSON",
            help='How the task is measured, such as \'{"prompt": "{question}\\nAnswer:"}\'.',
        ),
    ] = None,
    max_length: Annotated[int | None, typer.Option(help="Tokens a row is truncated to.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    parallel: Annotated[int, typer.Option(help="Evaluations in flight at once.")] = 8,
    initial: Annotated[
        Path | None, typer.Option(exists=True, help="JSON list of subnets to evaluate first.")
    ] = None,
    model_dict: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="A FlexiBERT modelDict, as JSON, to evaluate before those; repeatable.",
        ),
    ] = None,
    verify: Annotated[
        float | None,
        typer.Option(help="Share of the rows set aside to measure the front on at the end."),
    ] = None,
    verify_dataset: Annotated[
        str | None, typer.Option(help="Id of a dataset to measure the front on at the end.")
    ] = None,
    fine_tune: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET", help="Id of a dataset to train each subnet on before it is measured."
        ),
    ] = None,
    fine_tune_settings: Annotated[
        list[str] | None,
        typer.Option("--fine-tune-set", help="A setting of that training, such as steps=200."),
    ] = None,
    racing: Annotated[
        float | None,
        typer.Option(
            metavar="CONFIDENCE",
            help="Give subnets up that so surely will not reach the front, for example 0.9.",
        ),
    ] = None,
    weight: Annotated[float, typer.Option(help="Share of the workers beside others.")] = 1.0,
    precision: Annotated[
        str,
        typer.Option(
            help="What to measure in: float32, bfloat16, float16, or auto: as workers prefer."
        ),
    ] = "auto",
    plateau: Annotated[
        str | None,
        typer.Option(
            metavar="EVALUATIONS:GAIN",
            help="Stop once so many raise the hypervolume by less, for example 100:0.001.",
        ),
    ] = None,
    max_failures: Annotated[
        int | None, typer.Option(help="Fail the search when more evaluations fail.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call it.")] = None,
    detach: Annotated[bool, typer.Option(help="Submit, and do not wait.")] = False,
    as_json: AsJson = False,
    server: Server = LOCAL,
) -> None:
    """Start a search and watch its front grow; or list, follow, pause and end searches."""
    if context.invoked_subcommand is not None:
        return
    if supernet is None or dataset is None:
        missing = "--supernet" if supernet is None else "--dataset"
        raise InputError(
            "a search needs this",
            field=missing,
            remedy=f"see 'elasticnas {missing.removeprefix('--')} list'",
        )
    request: dict[str, Any] = {
        "supernet_id": supernet,
        "dataset_id": dataset,
        "name": name,
        "task_settings": None
        if task_settings is None
        else json_object(task_settings, field="--task-settings"),
        "max_length": max_length,
        "seed": seed,
        "objectives": objective or None,
        "constraints": [constraint_of(text) for text in constraint or []],
        "strategy": {"name": strategy} | dict(setting_of(text) for text in settings or []),
        "budget": {"evaluations": evaluations, "seconds": seconds},
        "parallel_evaluations": parallel,
        "verify": verify,
        "verify_dataset_id": verify_dataset,
        "evaluation": _evaluation(fine_tune, fine_tune_settings or []),
        "racing": None if racing is None else {"confidence": racing},
        "weight": weight,
        "precision": precision,
        "plateau": None if plateau is None else plateau_of(plateau),
    }
    if max_failures is not None:
        request["max_failures"] = max_failures
    if initial is not None:
        request["initial_subnets"] = read_json(initial, field="--initial")
    if model_dict:
        read = [read_model_dict(path, field="--model-dict") for path in model_dict]
        named = [server.model_dict(supernet, each).subnet for each in read]
        request["initial_subnets"] = [*named, *request.get("initial_subnets", [])]
    started = server.start_search(request)
    if detach:
        if as_json:
            print_json(started)
        else:
            out.print(started.id)
        return
    follow_to_the_end(server, started.id, as_json)


def _evaluation(dataset: str | None, settings: list[str]) -> dict[str, Any] | None:
    if dataset is None and settings:
        raise InputError(
            "there is no training to set anything of",
            field="--fine-tune-set",
            value=settings[0],
            remedy="name the dataset to train on: --fine-tune DATASET",
        )
    if dataset is None:
        return None
    given = dict(setting_of(text, "--fine-tune-set") for text in settings)
    return {"fine_tune": {"dataset_id": dataset} | given}


@app.command("follow")
def follow_search(search_id: SearchId, as_json: AsJson = False, server: Server = LOCAL) -> None:
    """Watch a search until it is over."""
    follow_to_the_end(server, search_id, as_json)


@app.command("list")
def list_all(
    state: Annotated[
        list[SearchState] | None, typer.Option(help="Only those in this state; repeatable.")
    ] = None,
    supernet: Annotated[str | None, typer.Option(help="Only those of this super-network.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only those on this dataset.")] = None,
    text: SoughtText = None,
    tag: SoughtTag = None,
    sort: Annotated[SearchSort, typer.Option(help="The order.")] = SearchSort.NEWEST,
    as_json: AsJson = False,
    server: Server = LOCAL,
) -> None:
    """All searches, the newest first; or those that are asked for."""
    searches = list(
        server.searches(
            q=text, tag=tag, state=state, supernet_id=supernet, dataset_id=dataset, sort=sort
        )
    )
    if as_json:
        print_json(searches)
        return
    rows = table("", "id", "name", "state", "strategy", "done", "front", "hypervolume")
    for s in searches:
        done = f"{s.progress.finished}/{s.progress.budget_evaluations}"
        hypervolume = f"{s.hypervolume:.4f}"
        rows.add_row(
            s.id, s.name or "", s.state, s.strategy.name, done, str(s.front_size), hypervolume
        )
    out.print(rows)


@app.command("show")
def show(search_id: SearchId, server: Server = LOCAL) -> None:
    """Everything about a search, as JSON."""
    print_json(server.search(search_id))


@app.command("request")
def request_of(search_id: SearchId, server: Server = LOCAL) -> None:
    """The request of a search as it was given, as JSON."""
    print(json_text(server.request(search_id), indent=2))


@app.command("note")
def note(
    search_id: SearchId,
    name: NewName = None,
    notes: NewNotes = None,
    tag: NewTags = None,
    no_tags: NoTags = False,
    server: Server = LOCAL,
) -> None:
    """Name a search, write notes and tags on it; what is not given stays."""
    annotate(server, "searches", search_id, name=name, notes=notes, tags=tag, no_tags=no_tags)


app.command("evaluations")(show_evaluations)
app.command("points")(show_points)


@app.command("events")
def events_of(
    search_id: SearchId,
    after: Annotated[
        int | None,
        typer.Option(min=0, help="Begin after the event with this id; 0: with the first."),
    ] = None,
    as_json: AsJson = False,
    server: Server = LOCAL,
) -> None:
    """What happens to a search, a line each, until it is over; --json: an object each."""
    for event in server.events(search_id, after):
        line = json_text(event.model_dump(mode="json")) if as_json else event_line(event)
        print(line, flush=True)


@app.command("pause")
def pause(search_id: SearchId, as_json: AsJson = False, server: Server = LOCAL) -> None:
    """Begin nothing new; what workers are at finishes and counts."""
    _print_state(server.change(search_id, "pause"), as_json)


@app.command("resume")
def resume(search_id: SearchId, as_json: AsJson = False, server: Server = LOCAL) -> None:
    """Let a paused search go on."""
    _print_state(server.change(search_id, "resume"), as_json)


@app.command("cancel")
def cancel(search_id: SearchId, as_json: AsJson = False, server: Server = LOCAL) -> None:
    """End a search; what it has measured stays."""
    _print_state(server.change(search_id, "cancel"), as_json)


@app.command("extend")
def extend(
    search_id: SearchId,
    evaluations: Annotated[int, typer.Option(help="How many more subnets to evaluate.")] = 0,
    seconds: Annotated[float, typer.Option(help="How much longer it may run.")] = 0.0,
    as_json: AsJson = False,
    server: Server = LOCAL,
) -> None:
    """Add to the budget; a search that has ended goes on."""
    more = {"evaluations": evaluations, "seconds": seconds}
    _print_state(server.change(search_id, "extend", **more), as_json)


@app.command("retry")
def retry(search_id: SearchId, as_json: AsJson = False, server: Server = LOCAL) -> None:
    """Measure what failed once more; a search that has ended goes on."""
    _print_state(server.change(search_id, "retry"), as_json)


@app.command("delete")
def delete(search_id: SearchId, server: Server = LOCAL) -> None:
    """Forget a search that has ended."""
    server.delete("searches", search_id)


def _print_state(changed: SearchRead, as_json: bool) -> None:
    if as_json:
        print_json(changed)
    else:
        out.print(changed.state.value)


def follow_to_the_end(server: Server, search_id: str, as_json: bool) -> None:
    """Watch a search until it is over, then show its front.

    Raises:
        typer.Exit: it failed, or the user leaves it to itself.
    """
    try:
        ended = follow(server, search_id, err)
    except KeyboardInterrupt:
        err.print(
            f"\nthe search goes on; 'elasticnas search follow {search_id}' watches it again, "
            f"'elasticnas search pause {search_id}' pauses it, "
            f"'elasticnas search cancel {search_id}' ends it",
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json(ended)
    elif ended.state is SearchState.COMPLETED:
        front = server.front(search_id).items
        out.print(front_table(ended, front, server.space(ended.supernet_id)))
        out.print(f"search {search_id}")
    if ended.state is SearchState.FAILED:
        err.print(f"the search failed: {_reason(ended)}", soft_wrap=True)
        raise typer.Exit(1)


def _reason(ended: SearchRead) -> str:
    return ended.error.detail if ended.error is not None else str(ended.stop_reason)
