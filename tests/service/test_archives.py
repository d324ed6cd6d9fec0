"""Unpacking what strangers send."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from elasticnas.api_schemas.problems import InputError
from elasticnas.service import archives
from elasticnas.service.archives import UnpackLimits, copy_folder, unpack
from tests.service.running import tar_of

LIMITS = UnpackLimits(files=10, size=1000)
ROOMY = UnpackLimits(files=10, size=10_000)
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
    "extra",
    [
        ["._net", "net/._base", "net/base/._config.json"],
        [".DS_Store", "net/.DS_Store"],
        ["Thumbs.db", "net/base/thumbs.DB", "net/desktop.ini"],
        ["__MACOSX/net/._search_space.json"],
        [".git/HEAD", "net/.gitattributes", "net/base/.cache/huggingface/x"],
        ["net/base/Icon\r", "net/@eaDir/x"],
    ],
)
def test_what_systems_add_hides_no_wrapper(extra, pack, tmp_path):
    net = {f"net/{name}": text for name, text in NET.items()}
    junk = dict.fromkeys(extra, "junk")
    assert files_in(unpacked(pack(junk | net), tmp_path)) == NET


def test_several_folders_may_wrap_the_checkpoint(tmp_path):
    files = {f"./models/my-net/{name}": text for name, text in NET.items()}
    assert files_in(unpacked(tar_of(files), tmp_path)) == NET


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_hard_link_to_a_member_is_that_member(format, mode, tmp_path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=format) as tar:
        plain = tarfile.TarInfo("./store/config.json")
        plain.size, plain.pax_headers = 2, {"SCHILY.xattr.user.note": "x"}
        tar.addfile(plain, io.BytesIO(b"{}"))
        for name, target in (("base/a", "./store/config.json"), ("base/b", "base/a")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.LNKTYPE, target
            tar.addfile(link)
    root = unpacked(out.getvalue(), tmp_path)
    assert files_in(root) == {"store/config.json": "{}", "base/a": "{}", "base/b": "{}"}


@pytest.mark.parametrize(
    ("kind", "option"),
    [(tarfile.LNKTYPE, "--hard-dereference"), (tarfile.SYMTYPE, "tar --dereference")],
)
def test_the_advice_about_a_link_is_of_its_kind(kind, option, tmp_path):
    member = tarfile.TarInfo("base/x")
    member.type, member.linkname = kind, "base/later"
    with pytest.raises(InputError) as caught:
        unpacked(tar_with(member), tmp_path)
    assert option in (caught.value.remedy or "")


def test_links_count_against_the_limit(tmp_path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        plain = tarfile.TarInfo("base/0")
        plain.size = 400
        tar.addfile(plain, io.BytesIO(b"x" * 400))
        for number in range(1, 4):
            link = tarfile.TarInfo(f"base/{number}")
            link.type, link.linkname = tarfile.LNKTYPE, "base/0"
            tar.addfile(link)
    with pytest.raises(InputError, match="unpacks to more"):
        unpacked(out.getvalue(), tmp_path)


@pytest.mark.parametrize("name", ["base/" + "a" * 300, "base/\udcff"])
def test_a_name_that_no_file_can_have_is_refused(name, tmp_path):
    with pytest.raises(InputError, match=r"no file can have|not UTF-8"):
        unpacked(tar_of({name: "x"}), tmp_path)


def test_a_tar_of_the_oldest_kind_is_read(tmp_path):
    member = tarfile.TarInfo("base/x").tobuf(tarfile.USTAR_FORMAT)
    old = bytearray(member)
    old[257:265] = bytes(8)
    old[148:156] = b" " * 8
    old[148:156] = f"{sum(old):06o}\0 ".encode()
    assert files_in(unpacked(bytes(old) + bytes(1024), tmp_path)) == {"base/x": ""}


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_inside_other_compressions_is_called_so(method, tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as pack:
        pack.writestr("base/x", os.urandom(400))
    data = bytearray(out.getvalue())
    data[60:300] = bytes(240)
    with pytest.raises(InputError, match="damaged"):
        unpacked(bytes(data), tmp_path)


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


TAR = tar_of({f"base/{name}": name * 600 for name in "abc"})
MEMBER = 512 + 1024


@pytest.mark.parametrize("is_gzip", [False, True], ids=["tar", "tar.gz"])
@pytest.mark.parametrize(
    "data",
    [
        TAR[: 2 * MEMBER],
        TAR[: 2 * MEMBER + 100],
        TAR[: 2 * MEMBER + 700],
        TAR[: 3 * MEMBER + 100],
        TAR[: 2 * MEMBER + 10] + b"!" + TAR[2 * MEMBER + 11 :],
        TAR + TAR,
        TAR + b"garbage",
    ],
    ids=["at a member", "in a header", "in a file", "in the end", "header", "two", "garbage"],
)
def test_a_tar_that_is_cut_or_damaged_is_not_taken_with_fewer_files(data, is_gzip, tmp_path):
    with pytest.raises(InputError, match="damaged"):
        unpacked(gzip.compress(data) if is_gzip else data, tmp_path, ROOMY)


@pytest.mark.parametrize("last", [-1, -8], ids=["size", "sum"])
def test_the_checksum_of_gzip_is_looked_at(last, tmp_path):
    data = bytearray(gzip.compress(TAR))
    data[last] ^= 1
    with pytest.raises(InputError, match="damaged"):
        unpacked(bytes(data), tmp_path, ROOMY)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["tar", "tar.gz"])
@pytest.mark.parametrize("zeros", [512, 1024, 3_000_000])
def test_any_usual_number_of_zeros_may_end_a_tar(zeros, pack, tmp_path):
    whole = TAR[: 3 * MEMBER] + bytes(zeros)
    assert len(files_in(unpacked(pack(whole), tmp_path, ROOMY))) == 3


def test_zeros_without_end_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_PADDING", 2_000_000)
    with pytest.raises(InputError, match="damaged"):
        unpacked(gzip.compress(TAR + bytes(5_000_000)), tmp_path, ROOMY)


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
