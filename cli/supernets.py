"""``elasticnas supernet``: super-networks on a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from elasticnas.api_schemas.costs import CostReport
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.supernets import HeadKind, SupernetPending, SupernetRead
from elasticnas.cli.connection import LOCAL, Server
from elasticnas.cli.deriving import derive
from elasticnas.cli.json_file import read_model_dict
from elasticnas.cli.output import AsJson, err, out, print_json, table
from elasticnas.cli.packing import packed

app = typer.Typer(no_args_is_help=True, help="Super-networks on a server.")

app.command("derive")(derive)

SupernetId = Annotated[str, typer.Argument(metavar="SUPERNET", help="The super-network's id.")]


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
def list_all(as_json: AsJson = False, server: Server = LOCAL) -> None:
    """All super-networks, the newest first."""
    supernets = list(server.supernets())
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


@app.command("space")
def show_space(supernet: SupernetId, as_json: AsJson = False, server: Server = LOCAL) -> None:
    """Every dimension of the search space with its choices."""
    space = server.space(supernet)
    if as_json:
        print_json(space)
        return
    rows = table(f"{space.size:.3g} subnets", "dimension", "part", "layer", "choices")
    for dimension in space.dimensions:
        layer = "" if dimension.layer is None else str(dimension.layer)
        choices = ", ".join(map(str, dimension.choices))
        rows.add_row(dimension.name, dimension.part, layer, choices)
    out.print(rows)


@app.command("cost")
def cost(
    supernet: SupernetId,
    subnet: Annotated[
        str, typer.Option(help="JSON of dimensions and choices; left out is the largest.")
    ] = "{}",
    max_length: Annotated[int | None, typer.Option(help="Tokens of the sequence.")] = None,
    as_json: AsJson = False,
    server: Server = LOCAL,
) -> None:
    """What a subnet costs, without evaluating it."""
    try:
        choices = json.loads(subnet)
    except ValueError as error:
        raise InputError(f"not valid JSON: {error}", field="--subnet", value=subnet) from error
    report = server.cost(supernet, choices, max_length)
    if as_json:
        print_json(report)
        return
    _show_cost(report)


@app.command("model-dict")
def show_model_dict(
    supernet: SupernetId,
    model_dict: Annotated[
        Path,
        typer.Argument(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="JSON: FlexiBERT's modelDict, or the config.json of a model of its kind.",
        ),
    ],
    max_length: Annotated[int | None, typer.Option(help="Tokens of the sequence.")] = None,
    as_json: AsJson = False,
    server: Server = LOCAL,
) -> None:
    """Which subnet a published architecture is, and what it costs."""
    told = read_model_dict(model_dict, field="FILE")
    found = server.model_dict(supernet, told, max_length)
    if as_json:
        print_json(found)
        return
    rows = table("the subnet", "dimension", "choice")
    for name, choice in found.subnet.items():
        rows.add_row(name, str(choice))
    out.print(rows)
    _show_cost(found.cost)


def _show_cost(report: CostReport) -> None:
    rows = table(f"one sequence of {report.max_length} tokens", "cost", "value")
    for name, value in report.values().items():
        rows.add_row(name, f"{value:,}" if isinstance(value, int) else f"{value:.4f}")
    for name, value in report.breakdown:
        rows.add_row(f"  {name}, multiply-accumulates", f"{value:,}")
    out.print(rows)


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
