"""``elasticnas supernet space``, ``layers``, ``cost``, ``feasibility``: what there is to search."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from elasticnas.api_schemas.costs import CostReport, CostsRead, PricedSubnet
from elasticnas.api_schemas.feasibility import CostRange, FeasibilityRead
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import Dimension, LayerRead
from elasticnas.cli.connection import LOCAL, Server
from elasticnas.cli.identifiers import SupernetId
from elasticnas.cli.json_file import read_json, read_model_dict
from elasticnas.cli.option_values import constraint_of
from elasticnas.cli.output import AsJson, number_text, out, print_json, table

SequenceLength = Annotated[
    int | None,
    typer.Option("--max-length", help="Tokens of the sequence.", show_default="the checkpoint's"),
]


def show_space(supernet: SupernetId, as_json: AsJson = False, server: Server = LOCAL) -> None:
    """Every dimension of the search space with its choices."""
    space = server.space(supernet)
    if as_json:
        print_json(space)
        return
    rows = table(f"{space.size:.3g} subnets", "dimension", "part", "layer", "choices")
    for dimension in space.dimensions:
        layer = "" if dimension.layer is None else str(dimension.layer)
        rows.add_row(dimension.name, dimension.part, layer, _choices(dimension))
    out.print(rows)


def show_layers(supernet: SupernetId, as_json: AsJson = False, server: Server = LOCAL) -> None:
    """The search space layer by layer: what each may choose, and what may be left out."""
    found = server.layers(supernet)
    if as_json:
        print_json(found)
        return
    parts = list(dict.fromkeys(each.part for layer in found.layers for each in layer.dimensions))
    rows = table("", "layer", *parts, "may be left out")
    for layer in found.layers:
        left_out = ", ".join(layer.optional)
        rows.add_row(str(layer.layer), *(_of_part(layer, part) for part in parts), left_out)
    out.print(rows)
    if found.dimensions:
        others = table("of no one layer", "dimension", "part", "choices")
        for dimension in found.dimensions:
            others.add_row(dimension.name, dimension.part, _choices(dimension))
        out.print(others)


def _of_part(layer: LayerRead, part: str) -> str:
    """The choices of a layer's dimensions of one part; of many alike, how many they are."""
    counts: dict[str, int] = defaultdict(int)
    for dimension in layer.dimensions:
        if dimension.part == part:
            counts[_choices(dimension)] += 1
    return "; ".join(f"{n} x {each}" if n > 1 else each for each, n in counts.items())


def _choices(dimension: Dimension) -> str:
    return ", ".join(map(str, dimension.choices))


def show_cost(
    supernet: SupernetId,
    subnet: Annotated[
        str, typer.Option(help="JSON of dimensions and choices; left out is the largest.")
    ] = "{}",
    subnets: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="In place of --subnet a JSON list of many.",
        ),
    ] = None,
    per_layer: Annotated[bool, typer.Option(help="Also what each layer costs.")] = False,
    max_length: SequenceLength = None,
    as_json: AsJson = False,
    server: Server = LOCAL,
) -> None:
    """What a subnet costs, without evaluating it; or many, or each layer."""
    if subnets is not None:
        asked = _subnets(subnets)
    else:
        try:
            asked = [json.loads(subnet)]
        except ValueError as error:
            raise InputError(f"not valid JSON: {error}", field="--subnet", value=subnet) from error
    if subnets is None and not per_layer:
        report = server.cost(supernet, asked[0], max_length)
        print_json(report) if as_json else print_cost(report)
        return
    found = server.costs(supernet, asked, max_length, per_layer=per_layer)
    if as_json:
        print_json(found)
    elif per_layer:
        for number, priced in enumerate(found.items):
            _print_layers(priced, "" if subnets is None else f"subnet {number} of the list, ")
    else:
        _print_many(found)


def _subnets(file: Path) -> list[Any]:
    asked = read_json(file, field="--subnets")
    if not isinstance(asked, list) or not asked:
        raise InputError(
            "this is no list of subnets",
            field="--subnets",
            value=file,
            remedy='write [{"layer.0.ffn.width": 8}, {}]: {} is the largest',
        )
    return asked


def _print_many(found: CostsRead) -> None:
    """A row for each subnet, in the order of the list."""
    names = list(found.items[0].cost.values())
    rows = table(f"one sequence of {found.max_length} tokens", "subnet", *names)
    for number, priced in enumerate(found.items):
        values = priced.cost.values()
        rows.add_row(str(number), *(number_text(values[name]) for name in names))
    out.print(rows)


def _print_layers(priced: PricedSubnet, of: str) -> None:
    """A row for each layer, one for what belongs to none, and their sum."""
    cost = priced.cost.values()
    names = [name for name in cost if any(name in layer.cost for layer in priced.layers or ())]
    title = f"{of}one sequence of {priced.cost.max_length} tokens"
    rows = table(title, "layer", "left out", *names)
    for layer in priced.layers or ():
        left_out = ", ".join(half for half, runs in layer.runs.items() if not runs)
        rows.add_row(str(layer.layer), left_out, *_numbers(layer.cost, names))
    rows.add_row("rest", "", *_numbers(priced.rest or {}, names))
    rows.add_row("all", "", *_numbers(cost, names))
    out.print(rows)


def _numbers(values: Mapping[str, int | float], names: Sequence[str]) -> list[str]:
    return [number_text(values[name]) if name in values else "" for name in names]


def print_cost(report: CostReport) -> None:
    """Every cost of a subnet, and where its operations go."""
    rows = table(f"one sequence of {report.max_length} tokens", "cost", "value")
    for name, value in report.values().items():
        rows.add_row(name, number_text(value))
    for name, value in report.breakdown:
        rows.add_row(f"  {name}, multiply-accumulates", f"{value:,}")
    out.print(rows)


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
    max_length: SequenceLength = None,
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
    print_cost(found.cost)


def show_feasibility(
    supernet: SupernetId,
    constraint: Annotated[
        list[str] | None, typer.Option(help="For example 'gflops<=0.6'; repeatable.")
    ] = None,
    max_length: SequenceLength = None,
    as_json: AsJson = False,
    server: Server = LOCAL,
) -> None:
    """What constraints leave of the space, and between which ends costs lie."""
    constraints = [constraint_of(text) for text in constraint or ()]
    found = server.feasibility(supernet, constraints, max_length)
    if as_json:
        print_json(found)
        return
    out.print(_share(found))
    within = found.feasible or {}
    columns = ("within: cheapest", "dearest") if within else ()
    title = f"one sequence of {found.max_length} tokens"
    rows = table(title, "cost", "cheapest", "dearest", *columns)
    for name, all_of_them in found.range.items():
        left = [number_text(end) for end in _ends(within[name])] if name in within else []
        rows.add_row(name, *map(number_text, _ends(all_of_them)), *left)
    out.print(rows)


def _ends(of: CostRange) -> tuple[float, float]:
    return of.low, of.high


def _share(found: FeasibilityRead) -> str:
    """What is left, in words: counted, or estimated with its interval of 95 %."""
    share = found.share
    size = f"{found.size:,}" if found.size < 10**9 else f"{found.size:.3g}"
    left = f"{_percent(share.value)} of {size} subnets"
    if found.is_exact:
        return f"{left} are within the constraints (counted)"
    return (
        f"{left} are within the constraints ({_percent(share.low)} to {_percent(share.high)}, "
        f"estimated by {found.samples:,})"
    )


def _percent(share: float) -> str:
    """A share in percent, by three digits; a small one is not told as none."""
    return f"{100 * share:.3g} %"
