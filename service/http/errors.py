"""Exceptions become ``application/problem+json``, here and nowhere else."""

from __future__ import annotations

import errno
import logging
import math
import reprlib
import types
import typing
from collections.abc import Sequence
from typing import Any

import sqlalchemy.exc
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match

from elasticnas.api_schemas.fields import storable
from elasticnas.api_schemas.problems import FieldError, InputError, Problem
from elasticnas.api_schemas.strategies import STRATEGIES, StrategySettings
from elasticnas.service.blobs.store import BlobError, StoreUnavailableError
from elasticnas.service.database_errors import is_disk_full, is_transient, summary
from elasticnas.service.http.problems import KINDS, MEDIA_TYPE, ProblemError, problem

log = logging.getLogger(__name__)

BY_STATUS = {
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    415: "unsupported-media-type",
}
SHOWN = 200
"""How much of an offending value a problem repeats."""
RETRY_AFTER_SECONDS = 5
"""When to come back to a server whose database or blob storage is away."""
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def answer(
    document: Problem, *, instance: str | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """A problem document as a response. What it repeats of a request may hold any character."""
    body = document.model_dump(mode="json", exclude_none=True)
    if instance is not None:
        body["instance"] = instance
    if document.status == 503:
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS), **(headers or {})}
    return JSONResponse(_printable(body), document.status, headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every exception with a problem document.

    The handlers are coroutines: others would wait for a free thread behind requests that wait for
    the database.
    """

    @app.exception_handler(InputError)
    async def _input(request: Request, error: InputError) -> JSONResponse:
        return answer(input_problem(error, "invalid-input"), instance=_path(request))

    @app.exception_handler(RequestValidationError)
    async def _validation(request: Request, error: RequestValidationError) -> JSONResponse:
        document = validation_problem(error.errors(), _body_annotation(request))
        return answer(document, instance=_path(request))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers) if error.headers else {}
        if isinstance(error, ProblemError):
            document = error.problem
        elif _is_full_disk(error.__cause__):  # FastAPI calls any failure to read a form a 400
            document = _full()
        else:
            kind = BY_STATUS.get(error.status_code, "http-error")
            detail = f"{request.method} {_path(request)}: {error.detail}"
            document = problem(kind, detail, status=error.status_code)
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_allowed(app, request))
        return answer(document, instance=_path(request), headers=headers)

    @app.exception_handler(BlobError)
    async def _blob(request: Request, error: BlobError) -> JSONResponse:
        log.error("%s %s failed: %s", request.method, _path(request), error)
        away = isinstance(error, StoreUnavailableError)
        kind = "storage-unavailable" if away else "storage-damaged"
        return answer(problem(kind, str(error)), instance=_path(request))

    @app.exception_handler(sqlalchemy.exc.SQLAlchemyError)
    async def _database(request: Request, error: sqlalchemy.exc.SQLAlchemyError) -> JSONResponse:
        if isinstance(error, sqlalchemy.exc.IntegrityError):
            log.warning("%s %s: %s", request.method, _path(request), summary(error))
            detail = "what this refers to was changed by another request at the same moment"
            return answer(problem("conflict", f"{detail}; try again"), instance=_path(request))
        if not is_transient(error):
            return _fault(request, error)
        log.warning("%s %s: %s", request.method, _path(request), summary(error))
        full = is_disk_full(error)
        return answer(_full() if full else _away(), instance=_path(request))

    @app.exception_handler(OSError)
    async def _system(request: Request, error: OSError) -> JSONResponse:
        if not _is_full_disk(error):
            return _fault(request, error)
        log.error("%s %s: %s", request.method, _path(request), error)
        return answer(_full(), instance=_path(request))

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> JSONResponse:
        return _fault(request, error)


def _fault(request: Request, error: Exception) -> JSONResponse:
    """500 for what should not happen; the log has the traceback."""
    log.error("%s %s failed", request.method, _path(request), exc_info=error)
    document = problem("internal-error", "the server could not answer this request")
    return answer(document, instance=_path(request))


def _path(request: Request) -> str:
    """Not ``request.url``, which cannot be made of every Host header."""
    path: str = request.scope["path"]
    return path


def _allowed(app: FastAPI, request: Request) -> list[str]:
    """The methods that some route takes at the request's path."""
    scope = dict(request.scope)
    found = [
        method
        for method in METHODS
        if any(route.matches(scope | {"method": method})[0] is Match.FULL for route in app.routes)
    ]
    return [*found, "HEAD"] if "GET" in found else found


def _full() -> Problem:
    return problem("storage-full", "there is no room left to store this; nothing was registered")


def _away() -> Problem:
    return problem(
        "database-unavailable",
        "the database does not answer, is locked or read-only now; nothing was changed; "
        "try again later",
    )


def _is_full_disk(error: BaseException | None) -> bool:
    """Whether a file, or the database, found no room."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return is_disk_full(error)


def _printable(value: Any) -> Any:
    """A JSON value without halves of surrogate pairs, NULs and infinities."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {_printable(key): _printable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_printable(each) for each in value]
    return value


def input_problem(error: InputError, kind: str) -> Problem:
    """What is wrong with the input, as a problem of this kind; pointers begin with a slash."""
    document = error.as_problem(title=KINDS[kind].title, kind=kind, status=KINDS[kind].status)
    pointers = [
        FieldError(pointer=pointer(e.pointer.split("/")), detail=e.detail, value=e.value)
        for e in document.errors
    ]
    return document.model_copy(update={"errors": pointers})


def validation_problem(errors: Sequence[Any], annotation: Any = None) -> Problem:
    """Pydantic's errors as one problem: for each, where, what was found, and what to do."""
    fields = []
    for error in errors:
        where = _location(error["loc"], annotation)
        detail = error["msg"].removeprefix("Value error, ")
        context = error.get("ctx", {})
        value = error.get("input")
        if error["type"] == "extra_forbidden":
            valid = ", ".join(_members(error["loc"][:-1], annotation))
            detail = "there is no such field" + (f"; valid are: {valid}" if valid else "")
            where = where or str(error["loc"][-1])
        elif error["type"] == "missing":
            detail, value = "this field is required", None
        elif error["type"] == "union_tag_invalid":
            tag = str(context["discriminator"]).strip("'")
            where, value = f"{where}/{tag}", context["tag"]
            detail = f"there is no such {tag}; valid are: {context['expected_tags']}"
        elif error["type"] == "union_tag_not_found":
            tag = str(context["discriminator"]).strip("'")
            where, detail = f"{where}/{tag}", "this field is required"
        elif error["type"] == "json_invalid":
            detail, value, where = f"this is not JSON: {context['error']}", None, ""
        shown = None if value is None else _shown(value)
        fields.append(FieldError(pointer=where, detail=detail, value=shown))
    fields = _merged(fields)
    first = fields[0]
    found = f" (found {first.value})" if first.value is not None else ""
    more = f", and {len(fields) - 1} more" if len(fields) > 1 else ""
    name = first.pointer.removeprefix("/") or "body"
    return problem("invalid-request", f"{name}: {first.detail}{found}{more}", errors=fields)


def _shown(value: object) -> str:
    """The beginning of a value, however long or deep it is."""
    if isinstance(value, bytes):
        value = value[:SHOWN].decode(errors="replace")
    if isinstance(value, str):
        return value[:SHOWN]
    if isinstance(value, dict | list):
        return reprlib.repr(value)[:SHOWN]
    return str(value)[:SHOWN]


def pointer(parts: Sequence[object]) -> str:
    """A JSON pointer (RFC 6901) to these parts."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def _merged(fields: list[FieldError]) -> list[FieldError]:
    """One error for each place: a value that fits no member of a union is one mistake."""
    merged: dict[str, FieldError] = {}
    for error in fields:
        if (earlier := merged.get(error.pointer)) is not None and earlier.detail != error.detail:
            error = error.model_copy(update={"detail": f"{earlier.detail}; or {error.detail}"})
        merged[error.pointer] = error
    return list(merged.values())


def _location(loc: Sequence[int | str], annotation: Any) -> str:
    """A JSON pointer without what pydantic adds: where the value came from, union members."""
    parts, _ = _walk(loc, annotation)
    return pointer(parts)


def _members(loc: Sequence[int | str], annotation: Any) -> list[str]:
    """The valid fields of the model at ``loc``, as far as the annotation tells."""
    _, models = _walk(loc, annotation)
    return [name for model in models for name in model.model_fields]


def _walk(
    loc: Sequence[int | str], annotation: Any
) -> tuple[list[int | str], list[type[BaseModel]]]:
    """Follow ``loc`` through the annotation: the real parts of the path, the models at its end."""
    parts: list[int | str] = []
    at = [annotation]
    steps = loc[1:] if loc and loc[0] in ("body", "query", "path", "header") else loc
    for step in steps:
        choices = [choice for a in at for choice in _alternatives(a)]
        tagged = [c for c in choices if _tag(c) == step]
        if tagged:  # a member of a discriminated union, not a field
            at = tagged
            continue
        if isinstance(step, str) and ("[" in step or step == "is-instance"):
            continue  # pydantic's name of a union member, such as str-enum[Metric]
        parts.append(step)
        at = [inner for choice in choices for inner in _inside(choice, step)]
    models = [
        c for a in at for c in _alternatives(a) if isinstance(c, type) and issubclass(c, BaseModel)
    ]
    return parts, models


def _alternatives(annotation: Any) -> list[Any]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _alternatives(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [c for arg in typing.get_args(annotation) for c in _alternatives(arg)]
    return list(STRATEGIES.values()) if annotation is StrategySettings else [annotation]


def _tag(annotation: Any) -> object:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get("name")
        if field is not None and typing.get_origin(field.annotation) is typing.Literal:
            return typing.get_args(field.annotation)[0]
    return None


def _inside(annotation: Any, step: int | str) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(step))
        return [] if field is None else [field.annotation]
    return [arg for arg in typing.get_args(annotation) if arg is not str]


def _body_annotation(request: Request) -> Any:
    body_field = getattr(request.scope.get("route"), "body_field", None)
    return None if body_field is None else body_field.field_info.annotation
