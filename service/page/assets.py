"""The files of the page, read once, with their digests."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CONTENT = Path(__file__).parent / "content"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""What is served; other files in the folder, such as licences, are not."""
CLASSIC = "theme.js"
"""The one script that is no module."""


@dataclass(frozen=True)
class Asset:
    """One file as it is sent."""

    body: bytes
    compressed: bytes
    media_type: str

    @classmethod
    def of(cls, body: bytes, suffix: str) -> Asset:
        """The file with this content."""
        return cls(body, gzip.compress(body, mtime=0), MEDIA_TYPES[suffix])


@dataclass(frozen=True)
class Assets:
    """All files by their path below `base`, and the document that loads them.

    ``base`` has a digest of all files: browsers keep them for good, and an upgrade changes the
    address. The document names all modules, so that a browser asks for them at once and does not
    learn of each by the import of another.
    """

    base: str
    files: dict[str, Asset]
    document: Asset


@cache
def assets() -> Assets:
    """The files of this installation."""
    found = {
        path.relative_to(CONTENT).as_posix(): path.read_bytes()
        for path in sorted(CONTENT.rglob("*"))
        if path.suffix in MEDIA_TYPES
    }
    digest = hashlib.sha256()
    for name, body in found.items():
        digest.update(f"{name} {len(body)} ".encode() + body)
    base = f"/page/{digest.hexdigest()[:16]}"
    modules = "".join(
        f'<link rel="modulepreload" href="{base}/{name}">'
        for name in found
        if name.endswith(".js") and name != CLASSIC
    )
    document = found.pop("index.html").decode().format(base=base, modules=modules)
    files = {name: Asset.of(body, Path(name).suffix) for name, body in found.items()}
    return Assets(base, files, Asset.of(document.encode(), ".html"))
