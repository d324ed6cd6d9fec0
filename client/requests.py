"""The shapes of request that the parts of the client have in common."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from pydantic import BaseModel

from elasticnas.client.connection import Connection
from elasticnas.client.encoding import as_unicode, json_body

Read = TypeVar("Read", bound=BaseModel)

UPLOAD_TIMEOUT = httpx2.Timeout(30.0, read=600.0)
"""What is uploaded is unpacked and stored before the server answers."""

Filter = str | float | bool | Sequence[str] | None
"""What a list may be asked for; None: anything."""


def given_filters(filters: Mapping[str, Filter]) -> dict[str, Filter]:
    """Those that ask for something."""
    return {name: value for name, value in filters.items() if value is not None}


def one_key() -> dict[str, str]:
    """The header by which a request that is sent twice does its work once."""
    return {"Idempotency-Key": uuid.uuid4().hex}


class Requests:
    """What every part of the client sends its requests by."""

    _connection: Connection

    def _ask(self, path: str, body: Mapping[str, Any], model: type[Read]) -> Read:
        """A POST that changes nothing on the server, so that it may be sent again."""
        answer = self._connection.send("POST", path, **json_body(body), is_repeatable=True)
        return self._connection.parsed(model, answer)

    def _start(self, path: str, body: Mapping[str, Any], model: type[Read]) -> Read:
        """A POST that makes one thing, however often it must be sent."""
        options = json_body(body, one_key())
        answer = self._connection.send("POST", path, **options, is_repeatable=True)
        return self._connection.parsed(model, answer)

    def _upload(
        self,
        path: str,
        part: str,
        file: Path,
        fields: dict[str, str],
        key: dict[str, str] | None = None,
    ) -> httpx2.Response:
        """Send a file as one part of a form, beside the form's fields.

        ``key`` is the header without which it is not sent again after a lost answer.
        """
        with file.open("rb") as content:
            return self._connection.send(
                "POST",
                path,
                files={part: (as_unicode(file.name), content)},
                data={name: as_unicode(value) for name, value in fields.items()},
                headers=key,
                is_repeatable=key is not None,
                timeout=UPLOAD_TIMEOUT,
            )
