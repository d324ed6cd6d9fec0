"""``elasticnas supernet``: super-networks on a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elasticnas.api_schemas.listing import Sort
from elasticnas.api_schemas.supernets import HeadKind, SupernetPending, SupernetRead, SupernetState
from elasticnas.cli.annotating import NewName, NewNotes, NewTags, NoTags, annotate
from elasticnas.cli.connection import LOCAL, Server
from elasticnas.cli.deriving import derive
from elasticnas.cli.identifiers import SupernetId
from elasticnas.cli.list_options import ListOrder, SoughtTag, SoughtText
from elasticnas.cli.output import AsJson, err, out, print_json, table
from elasticnas.cli.packing import packed
from elasticnas.cli.spaces import (
    show_cost,
    show_feasibility,
    show_layers,
    show_model_dict,
    show_space,
)

app = typer.Typer(no_args_is_help=True, help="Super-networks on a server.")

for command, does in (
    *(("derive", derive), ("space", show_space), ("layers", show_layers), ("cost", show_cost)),
    *(("feasibility", show_feasibility), ("model-dict", show_model_dict)),
):
    app.command(command)(does)


@app.command("add")
def add(
    checkpoint: Annotated[
        Path | None,
        typer.Argument(
            help="An archive, or a folder with base/ (or a model), adapter/ and the search space."
        ),
    ] = None,
    base: Annotated[
        Path | None, typer.Option(help="Hugging Face folder of the base model.")
    ] = None,
    adapter: Annotated[Path | None, typer.Option(help="PEFT LoRA folder.")] = None,
    space: Annotated[
        Path | None,
        typer.Option(
            help="search_space.json, an NNCF config, or SQFT's elastic_adapter_config.json."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call it.")] = None,
    as_json: AsJson = False,
    server: Server = LOCAL,
) -> None:
    """Register a checkpoint: one path, or --base and --adapter; --space with either."""
    called = name or (checkpoint or base or Path("supernet")).resolve().name.split(".")[0]
    with (
        packed(checkpoint, base, adapter, space) as archive,
        err.status("uploading and reading") as status,
    ):
        supernet = server.add_supernet(
            archive, called, lambda pending: status.update(_reading(pending))
        )
    show_supernet(supernet, as_json)


@app.command("list")
def list_all(
    state: Annotated[
        list[SupernetState] | None, typer.Option(help="Only those in this state; repeatable.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="Only those of this method, such as lonas.")
    ] = None,
    text: SoughtText = None,
    tag: SoughtTag = None,
    sort: ListOrder = Sort.NEWEST,
    as_json: AsJson = False,
    server: Server = LOCAL,
) -> None:
    """All super-networks, the newest first; or those that are asked for."""
    found = server.supernets(q=text, tag=tag, state=state, method=method, sort=sort)
    supernets = list(found)
    if as_json:
        print_json(supernets)
        return
    rows = table("", "id", "name", "model", "method", "gives", "subnets", "max GFLOPs")
    for s in supernets:
        if isinstance(s, SupernetPending):
            rows.add_row(s.id, s.name, s.state, "", "", "", "")
            continue
        gflops = f"{s.cost['maximal'].gflops:.3f}"
        rows.add_row(s.id, s.name, s.model_type, s.method, _gives(s), f"{s.space.size:.3g}", gflops)
    out.print(rows)


@app.command("show")
def show(supernet: SupernetId, as_json: AsJson = False, server: Server = LOCAL) -> None:
    """One super-network: its space, and what its largest and smallest subnets cost."""
    show_supernet(server.supernet(supernet), as_json)


@app.command("note")
def note(
    supernet: SupernetId,
    name: NewName = None,
    notes: NewNotes = None,
    tag: NewTags = None,
    no_tags: NoTags = False,
    server: Server = LOCAL,
) -> None:
    """Rename a super-network, write notes and tags on it; what is not given stays."""
    annotate(server, "supernets", supernet, name=name, notes=notes, tags=tag, no_tags=no_tags)


@app.command("delete")
def delete(supernet: SupernetId, server: Server = LOCAL) -> None:
    """Delete a super-network that no search refers to."""
    server.delete("supernets", supernet)


def _reading(pending: SupernetPending) -> str:
    lacks = f", waiting for {pending.waiting_for}" if pending.waiting_for else ""
    return f"a worker reads {pending.id}{lacks}"


def show_supernet(supernet: SupernetRead | SupernetPending, as_json: bool) -> None:
    """Print one super-network."""
    if as_json:
        print_json(supernet)
        return
    if isinstance(supernet, SupernetPending):
        out.print(f"[bold]{supernet.id}[/]  {supernet.name}")
        why = supernet.problem.detail if supernet.problem else supernet.waiting_for
        out.print(f"  {supernet.state}" + (f": {why}" if why else ""), markup=False)
        return
    parts = ", ".join(f"{count} {part}" for part, count in supernet.space.parts.items())
    largest, smallest = supernet.cost["maximal"], supernet.cost["minimal"]
    out.print(f"[bold]{supernet.id}[/]  {supernet.name}")
    out.print(f"  {supernet.model_type}, {supernet.method}, {_gives(supernet)}")
    out.print(
        f"  {supernet.space.size:.3g} subnets over {supernet.space.dimensions} dimensions ({parts})"
    )
    out.print(
        f"  {smallest.gflops:.3f} to {largest.gflops:.3f} GFLOPs at {largest.max_length} tokens, "
        f"{smallest.params / 1e6:.1f} to {largest.params / 1e6:.1f} M parameters"
    )


def _gives(supernet: SupernetRead) -> str:
    """What a head gives, e.g. ``2 labels``."""
    if supernet.head is HeadKind.CAUSAL_LM:
        return f"{supernet.num_labels} tokens"
    if supernet.head is HeadKind.SPANS:
        return "starts and ends"
    return "a number" if supernet.num_labels == 1 else f"{supernet.num_labels} labels"
