"""``elasticnas search evaluations`` and ``points``: everything that a search has measured."""

from __future__ import annotations

import csv
import sys
from typing import Annotated

import typer

from elasticnas.api_schemas.points import PointsRead, PointValue
from elasticnas.api_schemas.searches import EvaluationState
from elasticnas.cli.bounds import Bounds, with_bounds
from elasticnas.cli.connection import LOCAL, Server
from elasticnas.cli.identifiers import SearchId
from elasticnas.cli.output import AsJson, json_text, print_json


@with_bounds
def show_evaluations(
    search_id: SearchId,
    *,
    state: Annotated[
        list[EvaluationState] | None, typer.Option(help="Only those in this state; repeatable.")
    ] = None,
    on_front: Annotated[bool, typer.Option("--on-front", help="Only those on the front.")] = False,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A metric or a cost; with a hyphen before it from the largest: --sort=-accuracy.",
            show_default="number",
        ),
    ] = None,
    bounds: Bounds,
    server: Server = LOCAL,
) -> None:
    """Every evaluation of a search, or those that are asked for, one JSON object a line."""
    found = server.evaluations(
        search_id, state=state, on_front=on_front or None, sort=sort, **bounds
    )
    for evaluation in found:
        print(json_text(evaluation.model_dump(mode="json")))


def show_points(
    search_id: SearchId,
    field: Annotated[
        list[str] | None,
        typer.Option(
            help="A column: number, state, origin, choices, ..., a metric or a cost; repeatable.",
            show_default="number, state and the objectives",
        ),
    ] = None,
    after: Annotated[
        int, typer.Option(min=0, help="Only results recorded after so many of them.")
    ] = 0,
    as_json: AsJson = False,
    server: Server = LOCAL,
) -> None:
    """Every result of a search as CSV, a row each, in the order in which they came."""
    pages = [server.points(search_id, field, after)]
    while pages[-1].more:
        pages.append(server.points(search_id, field, pages[-1].after))
    columns = {
        name: [value for page in pages for value in page.columns[name]] for name in pages[0].columns
    }
    if as_json:
        count = sum(page.count for page in pages)
        last = pages[-1]
        print_json(
            PointsRead(count=count, columns=columns, after=last.after, more=False, front=last.front)
        )
        return
    written = csv.writer(sys.stdout, lineterminator="\n")
    written.writerow(columns)
    written.writerows(
        [_cell(value) for value in row] for row in zip(*columns.values(), strict=True)
    )


def _cell(value: PointValue) -> PointValue:
    """A value as it stands in a table: choices as JSON."""
    return json_text(value) if isinstance(value, list) else value
