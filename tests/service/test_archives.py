"""Unpacking what strangers send."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from api_schemas.problems import InputError
from service.archives import UnpackLimits, copy_folder, unpack
from tests.service.running import tar_of

LIMITS = UnpackLimits(files=10, size=1000)
NET = {"base/config.json": "{}", "search_space.json": "[]"}


def zip_of(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, content in files.items():
            pack.writestr(name, content)
    return out.getvalue()


def tar_with(member: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(member)
    return out.getvalue()


def unpacked(data: bytes, tmp_path: Path, limits: UnpackLimits = LIMITS) -> Path:
    archive = tmp_path / "named-wrongly.bin"
    archive.write_bytes(data)
    folder = tmp_path / "out"
    folder.mkdir()
    return unpack(archive, folder, limits)


def files_in(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    "pack",
    [tar_of, lambda files: tar_of(files, "w:gz"), zip_of],
    ids=["tar", "tar.gz", "zip"],
)
def test_the_kind_is_told_from_the_content(pack, tmp_path):
    assert files_in(unpacked(pack(NET), tmp_path)) == NET


def test_a_folder_that_wraps_everything_is_descended_into(tmp_path):
    root = unpacked(tar_of({f"./my-net/{name}": text for name, text in NET.items()}), tmp_path)
    assert files_in(root) == NET


def test_a_lone_base_folder_is_not_a_wrapper(tmp_path):
    assert files_in(unpacked(tar_of({"base/config.json": "{}"}), tmp_path)) == {
        "base/config.json": "{}"
    }


def test_what_macos_adds_is_left_out(tmp_path):
    extra = {"__MACOSX/base/._config.json": "junk", "base/.DS_Store": "junk"}
    assert files_in(unpacked(zip_of(NET | extra), tmp_path)) == NET


@pytest.mark.parametrize("pack", [tar_of, zip_of], ids=["tar", "zip"])
@pytest.mark.parametrize(
    "name", ["../evil", "base/../../evil", "/etc/evil", "..\\evil", "C:\\evil"]
)
def test_no_name_leads_out_of_the_folder(name, pack, tmp_path):
    with pytest.raises(InputError, match="leads out") as caught:
        unpacked(pack({"base/x": "1", name: "2"}), tmp_path)
    assert caught.value.field == name
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_tar_may_hold_no_link_or_device(kind, tmp_path):
    member = tarfile.TarInfo("base/model.safetensors")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(InputError, match="link or a device") as caught:
        unpacked(tar_with(member), tmp_path)
    assert caught.value.field == "base/model.safetensors"


def test_a_zip_may_hold_no_link(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as pack:
        member = zipfile.ZipInfo("base/link")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        pack.writestr(member, "/etc/passwd")
    with pytest.raises(InputError, match="link or a device"):
        unpacked(out.getvalue(), tmp_path)


@pytest.mark.parametrize("second", ["base/x", "./base/x", "BASE/X"])
def test_no_file_may_come_twice(second, tmp_path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("base/x", second):
            tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(InputError, match="twice"):
        unpacked(out.getvalue(), tmp_path)


def test_a_name_may_not_be_both_a_file_and_a_folder(tmp_path):
    with pytest.raises(InputError, match="both a file and a folder"):
        unpacked(tar_of({"base": "1", "base/x": "2"}), tmp_path)


@pytest.mark.parametrize(
    "pack", [lambda files: tar_of(files, "w:gz"), zip_of], ids=["tar.gz", "zip"]
)
def test_a_bomb_is_stopped_at_the_limit(pack, tmp_path):
    bomb = pack({"base/x": "0" * 1_000_000})
    assert len(bomb) < 10_000
    with pytest.raises(InputError, match="unpacks to more than 1000 bytes") as caught:
        unpacked(bomb, tmp_path)
    assert caught.value.field == "base/x"


def test_the_number_of_files_is_limited(tmp_path):
    with pytest.raises(InputError, match="more than 10 files"):
        unpacked(tar_of({f"base/{i}": "" for i in range(11)}), tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        tar_of({"base/x": os.urandom(5000)}, "w:gz")[:2000],
        zip_of({"base/x": "y" * 500})[:-30],
        b"\x1f\x8b" + b"garbage" * 100,
    ],
    ids=["cut tar.gz", "cut zip", "not gzip"],
)
def test_a_damaged_archive_is_called_so(data, tmp_path):
    with pytest.raises(InputError, match="damaged"):
        unpacked(data, tmp_path, UnpackLimits(files=10, size=10_000))


@pytest.mark.parametrize("data", [b"", b"just text", b"PAR1" + b"\0" * 600])
def test_what_is_no_archive_is_refused(data, tmp_path):
    with pytest.raises(InputError, match="no archive"):
        unpacked(data, tmp_path)


def test_an_archive_without_files_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no file"):
        unpacked(zip_of({}), tmp_path)


def test_a_folder_of_the_server_is_copied_under_the_same_rules(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "base").mkdir(parents=True)
    target.mkdir()
    (source / "base" / "config.json").write_text("{}")
    assert files_in(copy_folder(source, target, LIMITS)) == {"base/config.json": "{}"}
    (source / "link").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match="link or a device") as caught:
        copy_folder(source, tmp_path / "other", LIMITS)
    assert caught.value.field == "link"
