"""Multipart forms of one file and a few texts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import BinaryIO, NamedTuple

from fastapi import Request
from starlette.datastructures import UploadFile

from elasticnas.api_schemas.fields import MAX_NAME, storable
from elasticnas.api_schemas.problems import InputError


class UploadForm(NamedTuple):
    """A form with an uploaded file, what the client calls it, and the texts beside it."""

    file: BinaryIO
    filename: str
    texts: Mapping[str, str]


@asynccontextmanager
async def upload_form(request: Request, file: str, *texts: str) -> AsyncIterator[UploadForm]:
    """The form that a request brings, until the block ends; empty texts are left out.

    Raises:
        InputError: the file is missing, or there are other fields.
    """
    async with request.form(max_files=1, max_fields=8) as form:
        known = (file, *texts)
        if unknown := sorted(set(form) - set(known)):
            raise InputError(
                "there is no such form field",
                field=unknown[0],
                remedy=f"valid are {' and '.join(known)}",
            )
        if not isinstance(upload := form.get(file), UploadFile):
            raise InputError(
                "the form has no such file",
                field=file,
                remedy="send the checkpoint as a file in this multipart field",
            )
        found = {
            name: value for name in texts if isinstance(value := form.get(name), str) and value
        }
        yield UploadForm(upload.file, storable(upload.filename or "")[:MAX_NAME], found)
