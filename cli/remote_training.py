"""A training on a server's worker: its model and its rows are uploaded, then it is a job."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elasticnas.api_schemas.jobs import JobRead
from elasticnas.api_schemas.problems import InputError
from elasticnas.cli.jobs import watch_to_the_end
from elasticnas.cli.output import err, out, print_json
from elasticnas.cli.packing import packed_model
from elasticnas.client import Client


def train_remotely(
    client: Client,
    base: Path,
    rows: Path | None,
    dataset_id: str | None,
    *,
    request: Mapping[str, Any],
    columns: Mapping[str, str],
    detach: bool,
    as_json: bool,
    shows_result: bool = True,
) -> JobRead:
    """Start a training on a server and watch it, or with ``detach`` leave it to itself.

    Without ``shows_result`` nothing is printed of how it ended, unless it failed.

    Args:
        base: the pretrained model's folder, which is uploaded.
        rows: a file that is uploaded as a dataset, which ``columns`` describe; or else
        dataset_id: rows that the server has.
        request: recipe, settings and name, as the body of ``POST /v1/trainings`` has them.

    Raises:
        InputError: neither or both of ``rows`` and ``dataset_id`` were given.
    """
    if (rows is None) == (dataset_id is None):
        raise InputError(
            "a training needs rows: either a file, or a dataset of the server",
            field="--data",
            value=rows,
            remedy="give --data FILE, or --dataset ID; see 'elasticnas dataset list'",
        )
    with packed_model(base) as archive, err.status("uploading"):
        if rows is not None:
            dataset_id = client.add_dataset(rows, {"name": rows.stem, **columns}).id
        job = client.start_training({**request, "dataset_id": dataset_id}, archive)
    if not detach:
        return watch_to_the_end(client, job.id, as_json=as_json, shows_result=shows_result)
    if as_json:
        print_json(job)
    else:
        out.print(job.id)
    return job
