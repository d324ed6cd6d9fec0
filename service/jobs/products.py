"""What the steps of a job have left, as files to download."""

from __future__ import annotations

from sqlalchemy.orm import Session

from elasticnas.api_schemas.jobs import JobState, ProductFile, StepProduct
from elasticnas.api_schemas.manifests import Manifest
from elasticnas.service.blobs.folder import read_manifest
from elasticnas.service.http.problems import refuse
from elasticnas.service.jobs import repository
from elasticnas.service.jobs.tables import JobRow
from elasticnas.service.principal import Principal
from elasticnas.service.runtime import Service


def read_product(service: Service, principal: Principal, job_id: str, step: str) -> StepProduct:
    """The files that a completed step has left.

    Raises:
        ProblemError: 404, there is no such job or step; 409, the step is not completed.
        BlobError: they cannot be had from the store.
    """
    manifest = _manifest(service, principal, job_id, step)
    files = [
        ProductFile(path=path, size_bytes=file.size, sha256=file.sha256)
        for path, file in sorted(manifest.files.items())
    ]
    return StepProduct(job_id=job_id, step=step, files=files, size_bytes=manifest.size)


def digest_of(service: Service, principal: Principal, job_id: str, step: str, path: str) -> str:
    """The digest of one of these files.

    Raises:
        ProblemError: as `read_product`; 404, the step has left no such file.
        BlobError: the list of files cannot be had from the store.
    """
    file = _manifest(service, principal, job_id, step).files.get(path)
    if file is None:
        raise refuse(
            "not-found",
            f"step {step!r} of job {job_id} has left no file {path!r}; "
            f"GET /v1/jobs/{job_id}/steps/{step}/product lists its files",
        )
    return file.sha256


def _manifest(service: Service, principal: Principal, job_id: str, step: str) -> Manifest:
    with service.database.read() as session:
        digest = _output(session, repository.found(session, principal, job_id), step)
    return read_manifest(service.blobs, digest)


def _output(session: Session, job: JobRow, name: str) -> str:
    steps = {row.name: row for row in repository.steps(session, [job.id])[job.id]}
    if (step := steps.get(name)) is None:
        known = ", ".join(steps)
        raise refuse("not-found", f"job {job.id} has no step {name!r}; its steps are {known}")
    if step.output is None:
        raise refuse(
            "step-not-completed",
            f"step {name!r} of job {job.id} is {JobState(step.state).value}: "
            "wait until it is completed",
        )
    return step.output
