"""Every kind of problem that the service answers with, and their one translation to HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException

from elasticnas.api_schemas.problems import FieldError, Problem

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class ProblemKind:
    """A type of problem; its URI is ``/problems/<name>``."""

    name: str
    status: int
    title: str
    description: str


_ALL = (
    ProblemKind(
        "invalid-request",
        422,
        "The request is not valid",
        "A field is missing, of the wrong type, unknown or out of range; errors[] names each.",
    ),
    ProblemKind(
        "invalid-input",
        422,
        "The input cannot be used",
        "The request is well formed, but what it asks for is impossible; errors[] says why.",
    ),
    ProblemKind(
        "invalid-dataset",
        422,
        "The dataset cannot be used",
        "A file, line, column or label of the dataset is at fault; errors[] names it.",
    ),
    ProblemKind(
        "invalid-checkpoint",
        422,
        "The checkpoint cannot be used",
        "A file, tensor or key of the checkpoint is at fault; errors[] names it.",
    ),
    ProblemKind(
        "export-failed",
        422,
        "The weights cannot be exported",
        "The subnet cannot be written in this format, or the export failed; asking again retries.",
    ),
    ProblemKind(
        "evaluation-failed",
        500,
        "The evaluation failed",
        "A worker could not measure the subnet. Found on evaluations, not as a response.",
    ),
    ProblemKind(
        "evaluation-timeout",
        500,
        "The measurement took too long",
        "Found on evaluations and front members whose measurement took longer than the worker's "
        "time limit, not as a response.",
    ),
    ProblemKind(
        "verification-failed",
        500,
        "The front could not be verified",
        "Found on front members whose second measurement failed, not as a response.",
    ),
    ProblemKind(
        "every-evaluation-failed",
        500,
        "No evaluation of the search succeeded",
        "Found on failed searches; errors[] and detail are the last evaluation's.",
    ),
    ProblemKind(
        "failure-limit",
        500,
        "Too many evaluations of the search failed",
        "Found on failed searches: more failed than max_failures. They can be retried.",
    ),
    ProblemKind(
        "step-failed",
        500,
        "A step of the job failed",
        "Found on failed jobs, not as a response. A retry goes on from the last save point.",
    ),
    ProblemKind(
        "search-error",
        500,
        "The search stopped on an internal error",
        "Found on failed searches. The server's log has the details.",
    ),
    ProblemKind("not-found", 404, "Not found", "There is nothing at this address."),
    ProblemKind(
        "method-not-allowed", 405, "Method not allowed", "The address exists, for other methods."
    ),
    ProblemKind(
        "source-not-allowed",
        403,
        "This source is not allowed",
        "The operator has not allowed super-networks from this path or from the hub.",
    ),
    ProblemKind(
        "in-use", 409, "Still in use", "A search or job refers to this, so it cannot be deleted."
    ),
    ProblemKind(
        "conflict",
        409,
        "Another request came in between",
        "What the request refers to was changed meanwhile. Nothing was stored; try again.",
    ),
    ProblemKind(
        "illegal-transition",
        409,
        "Illegal in this state",
        "The search or job is in a state in which this cannot be done.",
    ),
    ProblemKind(
        "supernet-not-ready",
        409,
        "The super-network is not ready",
        "A worker is still reading its checkpoint, or found that it cannot be used; supernet_state "
        "says which.",
    ),
    ProblemKind(
        "not-completed",
        409,
        "The evaluation is not completed",
        "Weights exist only for completed evaluations.",
    ),
    ProblemKind(
        "step-not-completed",
        409,
        "The step is not completed",
        "A step of a job leaves its files once it is completed.",
    ),
    ProblemKind(
        "nothing-to-draw",
        409,
        "There is nothing to draw yet",
        "The search has not measured what the picture shows; detail says what is missing.",
    ),
    ProblemKind(
        "idempotency-conflict",
        409,
        "The idempotency key was used for another request",
        "The same Idempotency-Key came with another body before.",
    ),
    ProblemKind(
        "too-large", 413, "The request is too large", "The body exceeds the server's limit."
    ),
    ProblemKind(
        "invalid-range",
        416,
        "The file has no such range",
        "The Range header is not one of bytes, or begins beyond the end of the file.",
    ),
    ProblemKind(
        "unsupported-media-type",
        415,
        "This media type is not taken here",
        "The request's Content-Type is not one that this address reads.",
    ),
    ProblemKind(
        "queue-unavailable",
        503,
        "The queue cannot be reached",
        "The message broker does not answer. Nothing was stored.",
    ),
    ProblemKind(
        "not-ready", 503, "The service is not ready", "It cannot take work now; try again soon."
    ),
    ProblemKind(
        "database-unavailable",
        503,
        "The database cannot be reached",
        "It is away, restarting, locked or read-only. Nothing was changed; try again later.",
    ),
    ProblemKind(
        "storage-unavailable",
        503,
        "Blob storage cannot be reached",
        "The store of checkpoints, datasets and weights does not answer. Nothing was stored.",
    ),
    ProblemKind(
        "storage-damaged",
        500,
        "Stored data is missing or damaged",
        "A blob is not in the store, or its content is not what it was; detail names its digest.",
    ),
    ProblemKind("storage-full", 507, "The disk is full", "There is no room left on the server."),
    ProblemKind(
        "internal-error", 500, "Internal error", "A fault of the server; its log has the details."
    ),
    ProblemKind(
        "http-error", 400, "The request failed", "Any other HTTP error; the status says which."
    ),
)

KINDS = {kind.name: kind for kind in _ALL}


def problem(
    kind: str,
    detail: str,
    *,
    errors: list[FieldError] | None = None,
    status: int | None = None,
    **extra: Any,
) -> Problem:
    """A problem document of one of `KINDS`; ``extra`` become further members."""
    known = KINDS[kind]
    return Problem(
        type=f"/problems/{kind}",
        title=known.title,
        status=status or known.status,
        detail=detail,
        errors=errors or [],
        **extra,
    )


class ProblemError(HTTPException):
    """Raised to answer a request with a problem document."""

    def __init__(self, document: Problem, headers: dict[str, str] | None = None) -> None:
        self.problem = document
        super().__init__(document.status, document.detail, headers)


def refuse(kind: str, detail: str, **extra: Any) -> ProblemError:
    """The exception that answers with a problem of this kind."""
    return ProblemError(problem(kind, detail, **extra))


def not_found(what: str, identity: object, *, field: str | None = None) -> ProblemError:
    """404 for an address; 422 naming ``field`` when it was a reference inside a body."""
    detail = f"there is no {what} {identity}"
    if field is None:
        return refuse("not-found", detail)
    error = FieldError(pointer=f"/{field}", detail=detail, value=str(identity))
    return refuse("invalid-input", f"{field}: {detail}", errors=[error])


def documented(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of an endpoint that may answer with these problems, for OpenAPI."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for name in kinds:
        kind = KINDS[name]
        described = by_status.get(kind.status, {}).get("description")
        title = f"{described}; or: {kind.title}" if described else kind.title
        by_status[kind.status] = {
            "description": title,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    return by_status
