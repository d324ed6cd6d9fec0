"""Requests about trainings and other jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import quote

from elasticnas.api_schemas.jobs import JobKind, JobRead, JobState, StepProduct
from elasticnas.api_schemas.problems import InputError
from elasticnas.client.download import OnBytes, download
from elasticnas.client.encoding import json_text, resource_path
from elasticnas.client.event_stream import EventReader, JobEvent, followed
from elasticnas.client.requests import Filter, Requests, given_filters, one_key


class JobRequests(Requests):
    """The part of the client about jobs."""

    def start_training(self, request: dict[str, Any], model: Path | None = None) -> JobRead:
        """Have a super-network made; ``request`` is the body of ``POST /v1/trainings``.

        ``model`` is an archive of the pretrained model's folder, unless the body says where the
        server finds it. However often the request is made, it starts one job.
        """
        if model is None:
            return self._start("/v1/trainings", request, JobRead)
        fields = {"request": json_text(request)}
        answer = self._upload("/v1/trainings", "archive", model, fields, one_key())
        return self._connection.parsed(JobRead, answer)

    def jobs(
        self, state: JobState | None = None, kind: JobKind | None = None, **filters: Filter
    ) -> Iterator[JobRead]:
        """All jobs, or those of a state or kind, the newest first.

        ``filters`` are the others of ``GET /v1/jobs``: q, dataset_id, sort.
        """
        wanted = given_filters({"state": state, "kind": kind, **filters})
        return self._connection.pages("/v1/jobs", JobRead, params=wanted)

    def job(self, job_id: str) -> JobRead:
        """One job."""
        return self._connection.read(resource_path("jobs", job_id), JobRead)

    def change_job(self, job_id: str, transition: Literal["cancel", "retry"]) -> JobRead:
        """Cancel a job, or let one that failed or was cancelled go on from its last save point."""
        answer = self._connection.send("POST", resource_path("jobs", job_id, transition))
        return self._connection.parsed(JobRead, answer)

    def step_product(self, job_id: str, step: str) -> StepProduct:
        """The files that a completed step of a job has left."""
        return self._connection.read(
            resource_path("jobs", job_id, "steps", step, "product"), StepProduct
        )

    def download_product(
        self, job_id: str, step: str, folder: Path, on_bytes: OnBytes | None = None
    ) -> StepProduct:
        """Download what a step has left into a folder, which is made; files there are replaced.

        ``on_bytes`` is told of each file. A download that breaks off goes on where it stopped.

        Raises:
            InputError: the server names a file outside of the folder.
        """
        product = self.step_product(job_id, step)
        base = resource_path("jobs", job_id, "steps", step, "product")
        for file in product.files:
            target = folder / _relative(file.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            path = f"{base}/{quote(file.path)}"
            etag = f'"{file.sha256}"'
            download(self._connection, path, {}, target, etag=etag, on_bytes=on_bytes)
        return product

    def job_events(self, job_id: str, after: int | None = None) -> Iterator[JobEvent]:
        """What happens to a job until it is over, as `events` tells it of a search."""
        path = resource_path("jobs", job_id, "events")
        return followed(self._connection, path, EventReader(JobEvent, after))


def _relative(path: str) -> PurePosixPath:
    """A path that a server named, which must stay inside the folder that it is put under."""
    found = PurePosixPath(path)
    if found.is_absolute() or ".." in found.parts:
        raise InputError(
            "the server names a file outside of the folder",
            field="path",
            value=path,
            remedy="do not trust this server",
        )
    return found
