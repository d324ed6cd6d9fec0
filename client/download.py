"""A download that goes on where it broke off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx2

from elasticnas.client.connection import TRIES, Connection, said
from elasticnas.client.errors import ServerUnreachableError

OnBytes = Callable[[int, int], None]
"""Is told how many bytes of how many are there."""


def download(
    connection: Connection,
    path: str,
    params: dict[str, str],
    target: Path,
    *,
    etag: str,
    on_bytes: OnBytes | None = None,
) -> Path:
    """Fetch a resource into ``target``, which appears under its name only when it is whole.

    Raises:
        ServerProblemError: the server refuses to send it.
        ServerUnreachableError: it broke off too often.
    """
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    for attempt in range(TRIES):
        try:
            _append(connection, path, params, etag, partial, on_bytes)
            break
        except (httpx2.TransportError, httpx2.StreamError) as error:
            if attempt == TRIES - 1:
                raise ServerUnreachableError(
                    f"the download broke off {TRIES} times: {said(error)}"
                ) from error
    return partial.replace(target)


def _append(
    connection: Connection,
    path: str,
    params: dict[str, str],
    etag: str,
    partial: Path,
    on_bytes: OnBytes | None,
) -> None:
    """Fetch what ``partial`` lacks; If-Range starts over should the file have changed."""
    done = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={done}-", "If-Range": etag} if done else {}
    with connection.stream(path, params=params, headers=headers) as answer:
        if answer.status_code != 206:
            done = 0
        total = done + int(answer.headers.get("Content-Length", 0))
        with partial.open("ab" if done else "wb") as file:
            for chunk in answer.iter_bytes(1 << 20):
                file.write(chunk)
                done += len(chunk)
                if on_bytes is not None:
                    on_bytes(done, total)
