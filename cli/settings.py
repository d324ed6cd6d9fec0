"""``elasticnas settings``: what each process reads from its environment."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from pydantic_settings import BaseSettings

from cli.output import AsJson, out, table


def settings(
    as_json: AsJson = False,
    worker: Annotated[bool, typer.Option(help="The worker's, not the server's.")] = False,
) -> None:
    """Show every setting: its environment variable, the value in force, and what it means."""
    current: BaseSettings
    if worker:
        from worker.settings import WorkerSettings

        current = WorkerSettings()
    else:
        from service.settings import ServiceSettings

        current = ServiceSettings()
    prefix = str(current.model_config.get("env_prefix", ""))
    values = current.model_dump(mode="json")
    if as_json:
        print(json.dumps({f"{prefix}{n}".upper(): v for n, v in values.items()}, indent=2))
        return
    rows = table("", "variable", "value", "meaning")
    rows.columns[1].justify = rows.columns[2].justify = "left"
    rows.columns[2].no_wrap = False
    for name, field in type(current).model_fields.items():
        rows.add_row(f"{prefix}{name}".upper(), str(values[name]), field.description or "")
    out.print(rows)
