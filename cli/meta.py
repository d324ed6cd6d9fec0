"""``elasticnas meta``: what a server is and can do."""

from __future__ import annotations

from elasticnas.api_schemas.meta import Meta
from elasticnas.cli.connection import LOCAL, Server
from elasticnas.cli.output import AsJson, out, print_json, size_text, table


def meta(as_json: AsJson = False, server: Server = LOCAL) -> None:
    """What a server is and can do: version, tasks, costs, strategies, recipes, limits."""
    found = server.meta()
    if as_json:
        print_json(found)
        return
    out.print(f"ElasticNAS {found.version}", highlight=False)
    _print_tasks(found)
    costs = table("costs", "name", "meaning")
    for cost in found.costs:
        costs.add_row(cost.name, cost.title)
    strategies = table("strategies", "name", "settings", "")
    for strategy in found.strategies:
        lacks = f"the server lacks {', '.join(strategy.missing)}" if strategy.missing else ""
        note = "the default" if strategy.is_default else lacks
        settings = [name for name in strategy.settings.get("properties", {}) if name != "name"]
        strategies.add_row(strategy.name, ", ".join(settings), note)
    recipes = table("recipes", "name", "steps")
    for recipe in found.recipes:
        recipes.add_row(recipe.name, ", ".join(recipe.steps))
    for rows in (costs, strategies, recipes):
        out.print(rows)
    _print_limits(found)


def _print_tasks(found: Meta) -> None:
    tasks = table("tasks", "name", "metrics, the default first", "settings")
    for task in found.tasks:
        names = sorted((each.name for each in task.metrics), key=task.default_metric.__ne__)
        settings = ", ".join(task.settings.get("properties", {}))
        tasks.add_row(task.name, ", ".join(names), settings)
    out.print(tasks)


def _print_limits(found: Meta) -> None:
    """What comes in and goes out: formats, and how large things may be."""
    rows = table("", "", "")
    formats, limits = found.formats, found.limits
    for name, value in (
        ("checkpoints", f"{', '.join(formats.archives)}; {size_text(limits.max_upload_bytes)}"),
        (
            "datasets",
            f"{', '.join(formats.datasets)}; {size_text(limits.max_dataset_bytes)}, "
            f"{limits.max_dataset_rows:,} rows",
        ),
        ("public data", ", ".join(each.name for each in found.dataset_kinds)),
        ("weights", ", ".join(formats.weights)),
        ("pictures", ", ".join(formats.pictures)),
        ("precisions", ", ".join(found.precisions)),
        ("evaluations", f"{limits.max_evaluations:,} a search at most"),
    ):
        rows.add_row(name, value)
    out.print(rows)
