"""Dimensions say which part of which layer they cut, and costs are sums of terms"""

import json
import re
from collections import defaultdict
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0011"
branch_labels = None
depends_on = None

PARTS = {"heads": "heads", "width": "ffn", "rank": "rank", "depth": "blocks"}
STORED = ["params", "nonzero_params"]
BRANCH = ["adapters", "nonzero_params", "trainable_params"]

supernets = sa.table(
    "supernets",
    sa.column("id", sa.String()),
    sa.column("report", sa.JSON()),
    sa.column("summary", sa.JSON()),
)


def upgrade() -> None:
    connection = op.get_bind()
    ids = connection.scalars(sa.select(supernets.c.id).where(supernets.c.report.is_not(None)))
    for supernet_id in ids.all():  # one at a time: a report of a sparse base is large
        row = supernets.c.id == supernet_id
        report, summary = connection.execute(
            sa.select(supernets.c.report, supernets.c.summary).where(row)
        ).one()
        if report is None:  # a JSON null
            continue
        changed = {"report": report_of_today(report)}
        if summary is not None:
            kinds = summary["space"].pop("kinds")
            summary["space"]["parts"] = {PARTS[kind]: count for kind, count in kinds.items()}
            changed["summary"] = summary
        connection.execute(supernets.update().where(row).values(**changed))


def downgrade() -> None:
    """Terms do not say which linear layers they came of.

    Raises:
        RuntimeError: there are reports.
    """
    reported = sa.select(supernets.c.id).where(supernets.c.report.is_not(None)).limit(1)
    if op.get_bind().scalar(reported) is not None:
        raise RuntimeError(
            "reports of super-networks cannot go back to the version before: delete the "
            "super-networks first, and register them anew afterwards"
        )


def report_of_today(report: dict[str, Any]) -> dict[str, Any]:
    """A worker's report with its dimensions and costs in the new form."""
    depth = report["cost_model"].get("depth")
    depths = next((d["choices"] for d in report["dimensions"] if d["name"] == depth), None)
    presences = [
        {"layer": layer, "half": half, "when": when}
        for layer in range(len(report["cost_model"]["layer_params"]))
        for when in _when(depth, depths, layer)
        for half in ("attention", "ffn")
    ]
    return {
        **report,
        "dimensions": [_dimension(each) for each in report["dimensions"]],
        "cost_model": {"terms": _terms(report["cost_model"], report["dimensions"])},
        "presences": presences,
    }


def _dimension(old: dict[str, Any]) -> dict[str, Any]:
    layer = re.match(r"layer\.(\d+)\.", old["name"])
    return {
        "name": old["name"],
        "part": PARTS[old["kind"]],
        "layer": None if layer is None else int(layer[1]),
        "choices": old["choices"],
    }


def _when(depth: str | None, depths: list[int] | None, layer: int | None) -> list[Any]:
    """Under which conditions a layer runs: a depth keeps the first so many."""
    if depths is None or layer is None or depths[-1] > layer:
        return []
    return [{"dimension": depth, "choices": [choice for choice in depths if choice > layer]}]


def _terms(model: dict[str, Any], dimensions: list[dict[str, Any]]) -> list[Any]:
    """The terms of what was a list of linear layers and attentions, like ones together."""
    choices = {each["name"]: each["choices"] for each in dimensions}
    depth = model.get("depth")
    coefficients: dict[str, int] = defaultdict(int)

    def add(
        factors: list[Any],
        counts: list[str],
        tokens: int = 0,
        layer: int | None = None,
        table: Any = None,
    ) -> None:
        coefficient, amounts = 1, []
        for factor in factors:
            if isinstance(factor, int):
                coefficient *= factor
            elif factor.get("dimension") is None:
                coefficient *= factor["full"]
            else:
                coefficient *= factor.get("unit", 1)
                amounts.append(factor["dimension"])
        term = {
            "counts": counts,
            "amounts": sorted(amounts),
            "tables": [] if table is None else [table],
            "tokens": tokens,
            "when": _when(depth, choices.get(depth or ""), layer),
        }
        coefficients[json.dumps(term)] += coefficient

    for linear in model["linears"]:
        rows, columns, layer = linear["rows"], linear["columns"], linear.get("layer")
        stored = [*STORED, *(["trainable_params"] if linear.get("trainable") else [])]
        tokens = 1 if linear["tokens"] == "sequence" else 0
        spent = "head" if layer is None else "linear"
        add([rows, columns], [spent, *stored], tokens, layer)
        if linear["bias"]:
            add([rows], stored, 0, layer)
        if (rank := linear.get("rank")) is not None:
            add([rank, rows], BRANCH, tokens, layer)
            add([rank, columns], BRANCH, tokens, layer)
        if (zeros := linear.get("zeros")) is not None:
            add([-1], ["nonzero_params"], 0, layer, _table(zeros, rows, columns, choices))
    for product in model["attentions"]:
        add([2, product["width"]], ["attention"], 2, product["layer"])
    for layer, count in enumerate(model["layer_params"]):
        add([count], STORED, 0, layer)
    add([model["constant_params"]], STORED)
    return [
        {"coefficient": coefficient, **json.loads(term)}
        for term, coefficient in coefficients.items()
        if coefficient
    ]


def _table(
    zeros: dict[str, dict[str, int]],
    rows: dict[str, Any],
    columns: dict[str, Any],
    choices: dict[str, list[int]],
) -> dict[str, Any]:
    """Counts by length, ``zeros[rows][columns]``, as a table by choices."""
    lengths = [_lengths(extent, choices) for extent in (rows, columns)]
    return {
        "axes": [
            {"dimension": extent["dimension"], "choices": choices[extent["dimension"]]}
            for extent in (rows, columns)
            if extent.get("dimension") is not None
        ],
        "values": [zeros[str(r)][str(c)] for r in lengths[0] for c in lengths[1]],
    }


def _lengths(extent: dict[str, Any], choices: dict[str, list[int]]) -> list[int]:
    if extent.get("dimension") is None:
        return [extent["full"]]
    return [extent.get("unit", 1) * choice for choice in choices[extent["dimension"]]]
