"""``elasticnas storage``: what the blob store holds beside what the database refers to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from elasticnas.api_schemas.problems import InputError
from elasticnas.cli.extras import demand_extras
from elasticnas.cli.output import AsJson

if TYPE_CHECKING:
    from elasticnas.service.blobs import BlobStore
    from elasticnas.service.database import Database
    from elasticnas.service.orphans.collection import Review
    from elasticnas.service.settings import ServiceSettings

app = typer.Typer(
    help="Look after the blob store of an installation; for operators.",
    no_args_is_help=True,
    callback=lambda: demand_extras("server"),
)

SHOWN = 10


@app.command()
def check(as_json: AsJson = False) -> None:
    """Show what the next collection of orphans would do, and why; change nothing."""
    from elasticnas.service.orphans.collection import review

    with _opened() as (settings, database, blobs):
        grace = timedelta(seconds=settings.orphan_grace_seconds)
        found = review(database, blobs, grace)
    if as_json:
        print(json.dumps(_as_json(found), indent=2))
        return
    print(f"installation      {found.standing.installation}")
    print(f"collects orphans  {_verdict(found)}")
    print(f"blobs referred to {found.referenced}, of which {len(found.missing)} are missing")
    marked = sum(moment is not None for moment in found.orphans.values())
    print(f"orphans           {len(found.orphans)}, of which {marked} are marked")
    print(f"deleted next      {len(found.deletable)}")
    for title, digests in (("missing", found.missing), ("would be deleted", found.deletable)):
        for digest in digests[:SHOWN]:
            print(f"  {title}: {digest}")
        if len(digests) > SHOWN:
            print(f"  and {len(digests) - SHOWN} more (--json lists all)")


@app.command()
def hold() -> None:
    """Have nothing deleted until 'storage claim': after a restore, before a server is started."""
    from elasticnas.service.orphans import ownership

    with _opened() as (_, database, blobs):
        ownership.hold(database, blobs)
        found = ownership.standing(database, blobs)
    print(f"{found.installation} deletes nothing in this store until it claims it")


@app.command()
def claim(
    yes: Annotated[
        bool, typer.Option("--yes", help="Say that no other installation uses this store.")
    ] = False,
) -> None:
    """Make everything in the store this installation's own, so that orphans are collected again.

    For a store that an earlier version wrote, or that was restored from a backup. Another
    installation that keeps its blobs under the same prefix would lose them.
    """
    from elasticnas.service.orphans import ownership

    with _opened() as (_, database, blobs):
        found = ownership.standing(database, blobs)
        if found.refusal is None:
            print(f"{found.installation} is alone in this store already")
            return
        if not yes:
            raise InputError(
                f"not claimed: {found.refusal}",
                field="--yes",
                remedy="look at `elasticnas storage check` first; give --yes when no other "
                "installation keeps blobs there",
            )
        if not ownership.claim(database, blobs):
            raise InputError(
                "a server of this installation begins a collection at this moment",
                field="storage",
                remedy="try again in a minute",
            )
    print(f"{found.installation} has claimed this store; orphans are marked from now on")


@contextmanager
def _opened() -> Iterator[tuple[ServiceSettings, Database, BlobStore]]:
    from elasticnas.cli.configuration import Configuration
    from elasticnas.service.blobs import make_blobs
    from elasticnas.service.database import Database
    from elasticnas.service.settings import ServiceSettings

    settings = Configuration.find().read(ServiceSettings)
    database = Database(settings.resolved_database_url)
    try:
        yield settings, database, make_blobs(settings)
    finally:
        database.close()


def _verdict(found: Review) -> str:
    refusal = found.standing.refusal
    return "yes" if refusal is None else f"no: {refusal}"


def _as_json(found: Review) -> dict[str, object]:
    return {
        "installation": found.standing.installation,
        "collects": found.standing.refusal is None,
        "refusal": found.standing.refusal,
        "other_installations": list(found.standing.others),
        "referenced": found.referenced,
        "missing": list(found.missing),
        "orphans": {
            digest: None if moment is None else moment.isoformat()
            for digest, moment in found.orphans.items()
        },
        "would_delete": list(found.deletable),
    }
