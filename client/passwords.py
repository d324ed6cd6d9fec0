"""Passwords inside texts that people get to see."""

from __future__ import annotations

import re

URL_PASSWORD = re.compile(r"(?<=://)([^:/?#@]*):.*@")
QUERY_PASSWORD = re.compile(r"(?<=[?&])(password|sslpassword)=[^&]*")


def masked(text: str) -> str:
    """The text with *** for the password of everything that looks like a URL."""
    text = URL_PASSWORD.sub(r"\1:***@", text)
    return QUERY_PASSWORD.sub(r"\1=***", text)
