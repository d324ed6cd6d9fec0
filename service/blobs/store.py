"""What the service needs of blob storage, and what can go wrong there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol

DIGEST = re.compile(r"[0-9a-f]{64}")
SIGNER = re.compile(r"[a-z0-9-]{1,64}")
"""What may sign in a store: the id of an installation."""


class BlobStore(Protocol):
    """Files named by the SHA-256 of their content.

    A blob appears whole or not at all, never changes, and is stored once however often it comes.
    Every method that reaches the store may raise `StoreUnavailableError`, and every one that takes
    a digest raises ValueError when that is not 64 lower-case hexadecimal digits.
    """

    def store(self, path: Path) -> tuple[str, int]:
        """Move a local file in; its digest and its size in bytes.

        Its age begins anew when the content was there already.

        Raises:
            OSError: there is no room left.
        """
        ...

    def exists(self, digest: str) -> bool:
        """Whether the blob is stored."""
        ...

    def lease(self, digest: str) -> AbstractContextManager[Path]:
        """A local file with this content, verified, that stays readable until the block ends.

        Raises:
            BlobMissingError: no such blob is stored.
            BlobCorruptError: what is stored under the digest is something else.
        """
        ...

    def stored_before(self, moment: datetime) -> Iterator[str]:
        """The digests of all blobs last stored before this moment."""
        ...

    def discard(self, digest: str, before: datetime) -> bool:
        """Delete a blob unless it was stored again since ``before``; whether it was deleted.

        Safe beside a `store` of the same content: that either keeps this from deleting, or stores
        anew what this deleted.
        """
        ...

    def discard_unfinished(self, before: datetime) -> None:
        """Clear away what killed processes left half stored before this moment."""
        ...

    def is_empty(self) -> bool:
        """Whether no blob is stored."""
        ...

    def signatures(self) -> dict[str, bytes]:
        """What the installations that use this store have written beside the blobs, by their id."""
        ...

    def put_signature(self, signer: str, content: bytes) -> None:
        """Write the signature of one installation, in the place of an earlier one."""
        ...

    def withdraw_signature(self, signer: str) -> None:
        """Delete the signature of one installation, if there is one."""
        ...


class BlobError(Exception):
    """A blob cannot be had; the message names the digest and the store."""


class BlobMissingError(BlobError, FileNotFoundError):
    """No such blob is stored."""

    def __init__(self, digest: str, store: object) -> None:
        super().__init__(f"blob {digest} is not in the store at {store}")


class BlobCorruptError(BlobError):
    """A blob's content is not what its digest says."""

    def __init__(self, digest: str, store: object, found: str) -> None:
        super().__init__(
            f"blob {digest} is damaged in the store at {store}: the SHA-256 of its content is "
            f"{found}; restore it from a backup, or remove it and upload the same file again"
        )


class StoreUnavailableError(BlobError):
    """The store does not answer, or refuses."""

    def __init__(self, store: object, reason: object) -> None:
        super().__init__(f"the blob store at {store} cannot be used: {reason}")


def require_signer(signer: str) -> str:
    """The id of an installation, for use as a name.

    Raises:
        ValueError: it has other characters than lower-case letters, digits and hyphens.
    """
    if SIGNER.fullmatch(signer) is None:
        raise ValueError(f"{signer!r} is not the id of an installation")
    return signer


def require_digest(digest: str) -> str:
    """The digest, for use as a name.

    Raises:
        ValueError: it is not 64 lower-case hexadecimal digits.
    """
    if DIGEST.fullmatch(digest) is None:
        raise ValueError(f"{digest!r} is not a SHA-256 digest")
    return digest
