"""Unpacking an uploaded checkpoint: tar, tar.gz or zip, told apart by content."""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from api_schemas.problems import InputError

CHUNK = 1 << 20
FOLDERS_OF_A_CHECKPOINT = frozenset({"base", "adapter"})
IGNORED = frozenset({".DS_Store", "__MACOSX"})
"""What macOS adds to archives by itself."""


@dataclass(frozen=True)
class UnpackLimits:
    """How many files, and how many bytes in all, an archive or a folder may hold."""

    files: int
    size: int


@dataclass
class _Room:
    """What is left of the limits while unpacking, and the names already taken."""

    limits: UnpackLimits
    files: int = 0
    size: int = 0
    names: set[str] = field(default_factory=set)

    def admit(self, name: str) -> None:
        """Count one file; case is ignored, as some file systems ignore it."""
        if name.casefold() in self.names:
            raise InputError("this file is in the archive twice", field=name)
        self.names.add(name.casefold())
        self.files += 1
        if self.files > self.limits.files:
            raise InputError(
                f"the checkpoint holds more than {self.limits.files} files",
                field=name,
                remedy="pack only the model's own files",
            )

    def write(self, source: IO[bytes], target: Path, name: str) -> None:
        """Stream a file to disk, stopping at the limit whatever its header claims."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as sink:
            while chunk := source.read(CHUNK):
                self.size += len(chunk)
                if self.size > self.limits.size:
                    raise InputError(
                        f"the checkpoint unpacks to more than {self.limits.size} bytes",
                        field=name,
                        remedy="pack only the model's own files",
                    )
                sink.write(chunk)


def unpack(archive: Path, folder: Path, limits: UnpackLimits) -> Path:
    """Unpack an archive into the empty ``folder``; the folder that holds the checkpoint.

    That is ``folder`` itself, or its only entry when the archive wraps everything in one folder.

    Raises:
        InputError: the archive is of no known kind or damaged, exceeds a limit, or has a member
            that is a link or a device, is there twice, or would leave the folder. The error names
            the member.
    """
    room = _Room(limits)
    with archive.open("rb") as file:
        head = file.read(512)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        members = _zip_members(archive)
    elif head.startswith(b"\x1f\x8b"):
        members = _tar_members(archive, "r:gz")
    elif head[257:262] == b"ustar":
        members = _tar_members(archive, "r:")
    else:
        raise InputError(
            "this is no archive that can be read",
            field="archive",
            value=f"a file that begins with {head[:8]!r}",
            remedy="send a .tar, .tar.gz or .zip file",
        )
    for raw_name, source in members:
        name = safe_name(raw_name)
        if IGNORED.intersection(PurePosixPath(name).parts):
            continue
        room.admit(name)
        try:
            room.write(source, folder / name, name)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise InputError("this name is both a file and a folder", field=name) from error
        except _DAMAGE as error:
            raise InputError(f"the archive is damaged here: {error}", field=name) from error
    if not room.files:
        raise InputError("the archive holds no file", field="archive")
    return checkpoint_root(folder)


def copy_folder(source: Path, folder: Path, limits: UnpackLimits) -> Path:
    """Copy a folder of the server into the empty ``folder`` under the rules of `unpack`.

    Raises:
        InputError: it holds no file, a link or a device, or exceeds a limit.
    """
    room = _Room(limits)
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise _not_plain(name)
        if path.is_dir() or IGNORED.intersection(PurePosixPath(name).parts):
            continue
        room.admit(name)
        with path.open("rb") as file:
            room.write(file, folder / name, name)
    if not room.files:
        raise InputError("the folder holds no file", field="path")
    return checkpoint_root(folder)


def checkpoint_root(folder: Path) -> Path:
    """``folder``, or the single folder in it that wraps the checkpoint."""
    entries = list(folder.iterdir())
    if len(entries) == 1 and entries[0].is_dir():
        wrapper = entries[0]
        if wrapper.name not in FOLDERS_OF_A_CHECKPOINT:
            return wrapper
    return folder


def safe_name(raw: str) -> str:
    """A member's name as a relative POSIX path.

    Raises:
        InputError: it is absolute, climbs with ``..``, or is empty.
    """
    name = raw.replace("\\", "/")
    path = PurePosixPath(name)
    has_drive = len(name) > 1 and name[1] == ":"
    if path.is_absolute() or has_drive or ".." in path.parts or "\0" in name:
        raise InputError(
            "this name leads out of the checkpoint's folder",
            field=raw,
            remedy="pack the files with relative paths",
        )
    if not path.parts:
        raise InputError("a file has no name", field="archive")
    return path.as_posix()


_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    RuntimeError,
)
"""What the archive libraries raise on damaged or encrypted data. OSError is a full disk."""


def _not_plain(name: str) -> InputError:
    return InputError(
        "this is a link or a device, and only plain files are taken",
        field=name,
        remedy="pack the file that it points to (tar --dereference)",
    )


@contextmanager
def _reading_archive() -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise InputError(f"the archive is damaged: {error}", field="archive") from error


def _tar_members(archive: Path, mode: Literal["r:", "r:gz"]) -> Iterator[tuple[str, IO[bytes]]]:
    with _reading_archive(), tarfile.open(archive, mode) as tar:
        for member in tar:
            if member.isdir():
                continue
            if not member.isreg():
                raise _not_plain(member.name)
            source = tar.extractfile(member)
            assert source is not None  # a regular member always has content
            yield member.name, source


def _zip_members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with _reading_archive(), zipfile.ZipFile(archive) as pack:
        for member in pack.infolist():
            if member.is_dir():
                continue
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise _not_plain(member.filename)
            with pack.open(member) as source:
                yield member.filename, source
