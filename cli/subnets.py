"""``elasticnas subnet``, ``compare`` and ``exports``: single subnets of a search."""

from __future__ import annotations

from typing import Annotated

import typer

from elasticnas.api_schemas.comparison import ComparisonRead, MetricDifference
from elasticnas.api_schemas.verification import Interval
from elasticnas.api_schemas.weights import ExportRead
from elasticnas.cli.connection import LOCAL, Server
from elasticnas.cli.identifiers import SearchId
from elasticnas.cli.output import AsJson, number_text, out, print_json, size_text, table

SubnetNumber = Annotated[int, typer.Argument(metavar="SUBNET", min=0, help="The subnet's number.")]

POSSIBLE = {True: "yes", False: "no", None: "turns out when it is built"}


def show_subnet(
    search_id: SearchId, number: SubnetNumber, as_json: AsJson = False, server: Server = LOCAL
) -> None:
    """One subnet of a search: what it measured, what it costs, and its choices."""
    found = server.evaluation(search_id, number)
    if as_json:
        print_json(found)
        return
    place = ", on the front" if found.on_front else ""
    out.print(f"subnet {number} of {search_id}: {found.state}{place}, {found.origin}")
    if found.error is not None:
        out.print(found.error.detail, markup=False)
    unseen = {} if found.verified is None else found.verified.metrics
    values = table("", "", "value", *(("on unseen rows", "95 %") if unseen else ()))
    for name, value in ((found.metrics or {}) | found.cost).items():
        values.add_row(name, number_text(value), *_verified(unseen.get(name)))
    out.print(values)
    choices = table("", "dimension", "choice")
    for name, choice in found.subnet.items():
        choices.add_row(name, str(choice))
    out.print(choices)


def _verified(found: Interval | None) -> tuple[str, ...]:
    """A metric on rows that the search never saw, and the ends of its interval."""
    if found is None:
        return ()
    return number_text(found.value), f"{found.low:.4f} to {found.high:.4f}"


def compare(
    search_id: SearchId,
    a: Annotated[int, typer.Argument(metavar="A", min=0, help="The number of one subnet.")],
    b: Annotated[int, typer.Argument(metavar="B", min=0, help="The number of the other.")],
    as_json: AsJson = False,
    server: Server = LOCAL,
) -> None:
    """Two subnets of a search: where they differ, and whether that could be chance."""
    found = server.compare(search_id, a, b)
    if as_json:
        print_json(found)
        return
    _print_values(found)
    if found.why_no_interval is not None:
        out.print(f"no interval: {found.why_no_interval}", markup=False)
    if not found.dimensions:
        out.print("they have the same choices")
        return
    rows = table("what differs", "dimension", *_numbered(found))
    for each in found.dimensions:
        rows.add_row(each.name, str(each.a), str(each.b))
    out.print(rows)


def _print_values(found: ComparisonRead) -> None:
    """Metrics with their paired intervals, then costs."""
    title = ""
    if found.measured_on is not None:
        of = "verified them" if found.measured_on.part == "verification" else "the search measured"
        title = f"metrics and intervals of 95 %: the {found.measured_on.rows:,} rows that {of}"
    rows = table(title, "", *_numbered(found), "difference", "95 %", "")
    for name, metric in found.metrics.items():
        values = (number_text(metric.a), number_text(metric.b), f"{metric.difference:+.4f}")
        rows.add_row(name, *values, *_interval(metric))
    for name, cost in found.cost.items():
        sign = "+" if cost.difference > 0 else ""
        difference = sign + number_text(cost.difference)
        rows.add_row(name, number_text(cost.a), number_text(cost.b), difference, "", "")
    out.print(rows)


def _numbered(found: ComparisonRead) -> tuple[str, str]:
    return f"no. {found.a}", f"no. {found.b}"


def _interval(metric: MetricDifference) -> tuple[str, str]:
    """The ends of a paired interval, and whether 0 is between them."""
    if metric.low is None or metric.high is None:
        return "", ""
    chance = "could be chance" if metric.could_be_chance else "more than chance"
    return f"{metric.low:+.4f} to {metric.high:+.4f}", chance


def exports(
    search_id: SearchId,
    number: SubnetNumber,
    as_json: AsJson = False,
    server: Server = LOCAL,
) -> None:
    """In which formats a subnet's weights can be had or why not, and which are built."""
    found = server.exports(search_id, number)
    if as_json:
        print_json(found)
        return
    rows = table("", "format", "possible", "state", "size", "why")
    for each in found.items:
        size = "" if each.size_bytes is None else size_text(each.size_bytes)
        rows.add_row(each.format, POSSIBLE[each.possible], _state(each), size, _why(each))
    out.print(rows)
    out.print(
        f"'elasticnas weights {search_id} {number} --format FORMAT' builds and downloads one",
        soft_wrap=True,
    )


def _state(export: ExportRead) -> str:
    if export.worker is None:
        return export.state
    return f"{export.worker} builds it, {size_text(export.written_bytes or 0)} so far"


def _why(export: ExportRead) -> str:
    """Why it cannot be, or was not, built."""
    return export.reason or (export.problem.detail if export.problem is not None else "")
