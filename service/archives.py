"""Unpacking an uploaded checkpoint: tar, tar.gz or zip, told apart by content."""

from __future__ import annotations

import errno
import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from elasticnas.api_schemas.fields import storable
from elasticnas.api_schemas.problems import InputError

_Member = tuple[str, Callable[[], IO[bytes]]]
"""A file of an archive: its name, and what opens it."""

ARCHIVES = ("tar", "tar.gz", "zip")
"""What can be unpacked."""
CHUNK = 1 << 20
MOST_PADDING = 64 << 20
"""How many zeros may follow a tar: more than tools add, and too few to keep a server busy."""
FOLDERS_OF_A_CHECKPOINT = frozenset({"base", "adapter"})
IGNORED = frozenset({"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir"})
"""What macOS, Windows and storage devices add to folders by themselves, in small letters.

Names that begin with a dot are ignored too: macOS's tar puts ``._name`` beside each file with
attributes.
"""


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
        """Stream a file to disk, and stop at the limit even where its header claims less."""
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
    What systems add by themselves, and hidden files, are left out.

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
    elif head[257:262] == b"ustar" or _is_tar(archive):
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
        if _is_ignored(name):
            continue
        room.admit(name)
        try:
            with source() as content:
                room.write(content, folder / name, name)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise InputError("this name is both a file and a folder", field=name) from error
        except InputError:
            raise
        except _DAMAGE as error:
            raise InputError(f"the archive is damaged here: {error}", field=name) from error
        except OSError as error:
            if error.errno is None:  # bz2 says so of damaged data
                raise InputError(f"the archive is damaged here: {error}", field=name) from error
            if error.errno in _NO_NAME_OF_A_FILE:
                raise InputError("no file can have this name", field=name[:200]) from error
            raise
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
        if _is_ignored(name):
            continue
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise _not_plain(name, "put the file itself there (cp --dereference)")
        if path.is_dir():
            continue
        room.admit(name)
        with path.open("rb") as file:
            room.write(file, folder / name, name)
    if not room.files:
        raise InputError("the folder holds no file", field="path")
    return checkpoint_root(folder)


def checkpoint_root(folder: Path) -> Path:
    """``folder``, or the folder that wraps the checkpoint, or the one in that."""
    entries = list(folder.iterdir())
    wraps = len(entries) == 1 and entries[0].is_dir()
    if not wraps or entries[0].name in FOLDERS_OF_A_CHECKPOINT:
        return folder
    return checkpoint_root(entries[0])


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
    if storable(name) != name:
        raise InputError(
            "this name is not UTF-8",
            field=storable(name),
            remedy="rename the file, and pack it again",
        )
    return path.as_posix()


_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    RuntimeError,
    LookupError,
    ValueError,
)
"""What the archive libraries raise on damaged or encrypted data. OSError is a full disk."""


_NO_NAME_OF_A_FILE = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)


def _is_ignored(name: str) -> bool:
    """Whether the file, or a folder that it is in, is none of the user's."""
    parts = PurePosixPath(name).parts
    return any(part.startswith(".") or part.casefold() in IGNORED for part in parts)


def _not_plain(name: str, remedy: str) -> InputError:
    return InputError(
        "this is a link or a device, and only plain files are taken",
        field=storable(name),
        remedy=remedy,
    )


@contextmanager
def _reading_archive() -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(f"the archive is damaged: {error}", field="archive") from error


def _is_tar(archive: Path) -> bool:
    """Whether it is a tar, be it of the oldest kind, which has no magic number."""
    try:
        with tarfile.open(archive, "r:"):
            return True
    except tarfile.TarError:
        return False


def _tar_members(archive: Path, mode: Literal["r:", "r:gz"]) -> Iterator[_Member]:
    """Plain files, and hard links to those before them: tar packs a second name as a link."""
    plain: dict[str, tarfile.TarInfo] = {}
    with _reading_archive(), tarfile.open(archive, mode) as tar:
        for member in tar:
            if member.isdir():
                continue
            found = member if member.isreg() else None
            if member.islnk():
                found = plain.get(PurePosixPath(member.linkname).as_posix())
            if found is not None:
                plain[PurePosixPath(member.name).as_posix()] = found
            yield member.name, partial(_opened, tar, member, found)
        _require_end(tar)


def _require_end(tar: tarfile.TarFile) -> None:
    """The members ended at the block of zeros that ends an archive, and only zeros follow.

    ``tarfile`` also stops, and says nothing, where a file was cut or a header is damaged. What
    follows is read to its end for the checksum of gzip.

    Raises:
        InputError: they did not.
    """
    file = tar.fileobj
    assert file is not None
    file.seek(tar.offset)
    block, read = file.read(tarfile.BLOCKSIZE), 0
    is_whole = len(block) == tarfile.BLOCKSIZE
    while is_whole and block:
        read += len(block)
        is_whole = not block.strip(b"\0") and read <= MOST_PADDING
        block = file.read(CHUNK)
    if not is_whole:
        raise InputError(
            "the archive ends in the middle, or is damaged",
            field="archive",
            value=f"no end of the archive where byte {tar.offset} of the tar is",
            remedy="pack it again, and send it whole",
        )


def _opened(
    tar: tarfile.TarFile, member: tarfile.TarInfo, found: tarfile.TarInfo | None
) -> IO[bytes]:
    """The content of a member, which is that of the plain file ``found``."""
    if found is None:
        option = "--hard-dereference" if member.islnk() else "--dereference"
        raise _not_plain(member.name, f"pack the file that it points to (tar {option})")
    source = tar.extractfile(found)
    assert source is not None  # a regular member always has content
    return source


def _zip_members(archive: Path) -> Iterator[_Member]:
    with _reading_archive(), zipfile.ZipFile(archive) as pack:
        for member in pack.infolist():
            if member.is_dir():
                continue
            yield member.filename, partial(_opened_zip, pack, member)


def _opened_zip(pack: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise _not_plain(member.filename, "pack the file that it points to (zip without -y)")
    return pack.open(member)
