"""Content-addressed files in a local folder."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from pathlib import Path

from api_schemas.manifests import Manifest, ManifestFile

CHUNK = 1 << 20
DIGEST = re.compile(r"[0-9a-f]{64}")


class LocalBlobs:
    """Files named by the SHA-256 of their content, fanned out over two levels of folders.

    A file appears under its name only once it is complete and on disk (fsync, then an atomic
    rename), so whatever a reader finds is whole. Storing the same content twice keeps one file.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._staging = root / "staging"
        self._staging.mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        """Where the blob with this digest lies, or would lie.

        Raises:
            ValueError: ``digest`` is not 64 lower-case hexadecimal digits.
        """
        if DIGEST.fullmatch(digest) is None:
            raise ValueError(f"{digest!r} is not a SHA-256 digest")
        return self._root / digest[:2] / digest[2:4] / digest

    def fetch(self, digest: str) -> Path:
        """A readable local file with this content.

        Raises:
            FileNotFoundError: no such blob is stored.
        """
        path = self.path(digest)
        if not path.is_file():
            raise FileNotFoundError(f"blob {digest} is not in the store at {self._root}")
        return path

    def store(self, path: Path) -> tuple[str, int]:
        """Move a file in; its digest and its size in bytes."""
        size = path.stat().st_size
        return self.put_file(path, move=True), size

    def put_file(self, path: Path, *, move: bool = False) -> str:
        """Store a file's content and return its digest.

        With ``move`` the file is renamed into place when it lies on the same volume. Otherwise it
        is copied, and the digest is that of the bytes written.
        """
        staged, digest = self._stage(path, move=move)
        target = self.path(digest)
        if target.exists():
            staged.unlink()
            return digest
        target.parent.mkdir(parents=True, exist_ok=True)
        staged.replace(target)
        _sync(target.parent)
        return digest

    def put_folder(self, folder: Path) -> tuple[str, Manifest]:
        """Move every file of a folder in, and store the manifest that names them.

        Returns the manifest's digest with the manifest.
        """
        files: dict[str, ManifestFile] = {}
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = path.relative_to(folder).as_posix()
            digest, size = self.store(path)
            files[name] = ManifestFile(sha256=digest, size=size)
        manifest = Manifest(files=files)
        text = json.dumps(manifest.model_dump(), sort_keys=True, separators=(",", ":"))
        with tempfile.NamedTemporaryFile("w", dir=self._staging, delete=False) as file:
            file.write(text)
        return self.put_file(Path(file.name), move=True), manifest

    def _stage(self, path: Path, *, move: bool) -> tuple[Path, str]:
        """A synced file in the staging folder with the content of ``path``, and its digest."""
        descriptor, name = tempfile.mkstemp(dir=self._staging)
        staged = Path(name)
        try:
            if move and path.stat().st_dev == staged.stat().st_dev:
                os.close(descriptor)
                path.replace(staged)
                with staged.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                    os.fsync(file.fileno())
                return staged, digest
            sha = hashlib.sha256()
            with path.open("rb") as source, os.fdopen(descriptor, "wb") as sink:
                while chunk := source.read(CHUNK):
                    sha.update(chunk)
                    sink.write(chunk)
                sink.flush()
                os.fsync(sink.fileno())
            if move:
                path.unlink()
            return staged, sha.hexdigest()
        except BaseException:
            staged.unlink(missing_ok=True)
            raise


def _sync(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
