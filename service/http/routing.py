"""What is the same for the requests of every route."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from email.message import Message
from typing import Annotated, Any

from fastapi import Depends, Request, Response, params
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from elasticnas.service.http.json_body import parse_json
from elasticnas.service.http.problems import refuse

JSON = "application/json"
FORM = "multipart/form-data"
UTF8 = ("utf-8", "utf8", "us-ascii")
LARGE = 1 << 16
"""A longer JSON text is parsed beside the event loop."""


class StrictRequest(Request):
    """A request whose JSON is read by `parse_json`, once."""

    _value: Any = None

    async def json(self) -> Any:
        """The body's value.

        Raises:
            ProblemError: the body is not JSON that can be read.
        """
        if self._value is None:
            body = await self.body()
            is_small = len(body) < LARGE
            self._value = (
                parse_json(body) if is_small else await run_in_threadpool(parse_json, body)
            )
        return self._value


async def _body_as_sent(request: Request) -> dict[str, Any]:
    """Empty where the body is none that the endpoint takes, which it then says itself."""
    value = await request.json() if isinstance(request, StrictRequest) else None
    return value if isinstance(value, dict) else {}


BodyAsSent = Annotated[dict[str, Any], Depends(_body_as_sent)]
"""The JSON object of a request as the client wrote it, before any model reads it."""


class StrictRoute(APIRoute):
    """Answers 415 to a body of another media type than the endpoint reads, and reads JSON strictly.

    (FastAPI takes a body of another type for text, and says that it is no object.)
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The endpoint, for a request whose body is of the right type."""
        handle = super().get_route_handler()
        expected = None
        if self.body_field is not None:
            expected = FORM if isinstance(self.body_field.field_info, params.Form) else JSON

        async def handle_strictly(request: Request) -> Response:
            found = media_type(request)
            _require_utf8(request)
            if expected is not None and found and found != expected:
                raise refuse(
                    "unsupported-media-type", f"this address takes {expected}, found {found!r}"
                )
            return await handle(StrictRequest(request.scope, request.receive))

        return handle_strictly


def _require_utf8(request: Request) -> None:
    """Other encodings are left to nobody: Python has some that are none."""
    message = Message()
    message["content-type"] = request.headers.get("content-type", "")
    charset = message.get_param("charset", "utf-8")
    if str(charset).lower() not in UTF8:
        raise refuse("unsupported-media-type", f"text comes as UTF-8 here, found {charset!r}")


def media_type(request: Request) -> str:
    """The Content-Type without its parameters, or an empty string."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
