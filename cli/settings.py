"""``elasticnas settings``: the list of all settings."""

from __future__ import annotations

from typing import Annotated

import typer

from elasticnas.cli.extras import demand_extras, has_extras
from elasticnas.cli.output import AsJson, json_text, out, table


def settings(
    as_json: AsJson = False,
    worker: Annotated[bool, typer.Option("--worker", help="The worker's alone.")] = False,
) -> None:
    """Show every setting: environment variable, value in force, its origin, and what it means.

    Options of `serve`, `coordinate` and `worker` win over what is shown; passwords are not.
    """
    if not has_extras("worker"):  # either has what this takes
        demand_extras("server")
    from elasticnas.cli.configuration import Configuration
    from elasticnas.cli.setting_list import WORKERS, every_setting

    configuration = Configuration.find()
    shown = every_setting(configuration)
    if worker:
        shown = [setting for setting in shown if WORKERS in setting.read_by]
    if as_json:
        described = {each.variable: each._asdict() for each in shown}
        for rest in described.values():
            del rest["variable"]
        print(json_text(described, indent=2))
        return
    title = f"configuration file: {configuration.path or 'none'}"
    rows = table(title, "variable", "value", "origin", "read by", "meaning")
    for column in rows.columns:
        column.justify = "left"
        column.no_wrap = False
    rows.columns[0].no_wrap = True
    for each in shown:
        value = "" if each.value is None else str(each.value)
        rows.add_row(each.variable, value, each.origin, each.read_by, each.meaning)
    out.print(rows)
