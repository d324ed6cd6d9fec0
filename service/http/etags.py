"""Strong ETags: polling costs a 304 while nothing has changed."""

from __future__ import annotations

import hashlib


def etag_of(*parts: object) -> str:
    """A strong ETag of the values that determine a response's bytes."""
    return '"' + hashlib.sha256(repr(parts).encode()).hexdigest()[:32] + '"'


def matches(if_none_match: str | None, etag: str) -> bool:
    """RFC 9110, 13.1.2: the weak comparison, and ``*``."""
    if if_none_match is None:
        return False
    candidates = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return "*" in candidates or etag in candidates
