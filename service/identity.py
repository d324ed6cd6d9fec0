"""Identities of stored things."""

from __future__ import annotations

import uuid


def new_id(kind: str) -> str:
    """An opaque id that says what it is of, such as ``search-3f0c...``."""
    return f"{kind}-{uuid.uuid4().hex[:20]}"
