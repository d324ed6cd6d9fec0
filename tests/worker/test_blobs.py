from __future__ import annotations

import os
from pathlib import Path

import pytest

from elasticnas.api_schemas.manifests import store_folder
from elasticnas.service.blobs import LocalBlobs
from elasticnas.worker.blobs import checkpoint, sweep


def test_what_killed_workers_left_is_swept_and_what_is_in_use_is_not(tmp_path: Path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "link").symlink_to("/nowhere")
        (tmp_path / f"{name}.zip").write_text("half")
    for entry in (tmp_path / "old", tmp_path / "old.zip"):
        os.utime(entry, (0, 0))
    sweep(tmp_path, 3600)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "new.zip"]
    sweep(tmp_path / "missing", 3600)


@pytest.mark.parametrize("damage", [b"damaged", None])
def test_a_damaged_or_missing_file_is_named_with_its_store(tmp_path: Path, damage: bytes | None):
    blobs = LocalBlobs(tmp_path / "blobs")
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "weights").write_text("whole")
    digest, manifest = store_folder(blobs, tmp_path / "net")
    file = manifest.files["weights"].sha256
    blobs.path(file).unlink()
    if damage is not None:
        blobs.path(file).write_bytes(damage)
    with (
        pytest.raises(Exception, match=f"{file} is .*{tmp_path / 'blobs'}"),
        checkpoint(digest, blobs, tmp_path / "scratch"),
    ):
        pass
    assert not list((tmp_path / "scratch").iterdir())
