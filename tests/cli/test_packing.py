from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from elasticnas.api_schemas.problems import InputError
from elasticnas.cli.packing import packed
from elasticnas.supernet.checkpoint.reader import read_supernet
from tests.supernet import causal, eftnas
from tests.supernet.test_reader import nncf_config
from tests.supernet.tiny import write_checkpoint


def members(archive: Path) -> set[str]:
    with tarfile.open(archive) as tar:
        return set(tar.getnames())


def test_a_folder_is_packed_so_that_it_reads_back(tmp_path: Path):
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    with packed(checkpoint, None, None, None) as archive, tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    assert read_supernet(tmp_path / "unpacked").space == read_supernet(checkpoint).space


def test_a_folder_of_eftnas_is_packed_as_it_is(tmp_path: Path):
    """Its importance, its checkpoints and NNCF's pickle stay behind."""
    folder = eftnas.write_folder(tmp_path / "folder")
    with packed(folder, None, None, None) as archive, tarfile.open(archive) as tar:
        assert {name.partition("/")[0] for name in tar.getnames()} == {"base", "nncf_config.json"}
        assert "base/pytorch_model.bin" in tar.getnames()
        tar.extractall(tmp_path / "unpacked", filter="data")
    unpacked = read_supernet(tmp_path / "unpacked")
    assert unpacked.method == "eftnas"
    assert unpacked.space == read_supernet(folder).space


def test_logs_and_optimiser_states_stay_behind(tmp_path: Path):
    checkpoint = write_checkpoint(tmp_path)
    (checkpoint / "adapter" / "optimizer.pt").write_text("large")
    (checkpoint / "base" / "trainer_state.json").write_text("{}")
    (checkpoint / "base" / "checkpoint-10").mkdir()
    with packed(checkpoint, None, None, None) as archive:
        assert not {n for n in members(archive) if "optimizer" in n or "trainer" in n or "-10" in n}


def test_what_a_desktop_leaves_in_a_folder_stays_behind(tmp_path: Path):
    checkpoint = write_checkpoint(tmp_path)
    with packed(checkpoint, None, None, None) as archive:
        clean = members(archive)
    for part in ("base", "adapter"):
        for name in ("._config.json", ".DS_Store", "Thumbs.db", "desktop.ini"):
            (checkpoint / part / name).write_bytes(b"debris")
    (checkpoint / "base" / "._model.safetensors").write_bytes(b"debris")
    (checkpoint / "._search_space.json").write_bytes(b"debris")
    with packed(checkpoint, None, None, None) as archive:
        assert members(archive) == clean


def test_parts_may_lie_anywhere_and_an_nncf_config_is_recognised(tmp_path: Path):
    checkpoint = write_checkpoint(tmp_path)
    space = tmp_path / "released_space.json"
    space.write_text(json.dumps(nncf_config()))
    base, adapter = checkpoint / "base", checkpoint / "adapter"
    with packed(None, base, adapter, space) as archive:
        assert {"nncf_config.json", "base/config.json", "adapter/adapter_config.json"} <= members(
            archive
        )


def test_sqfts_file_is_packed_from_beside_the_adapter_unless_a_space_is_named(tmp_path: Path):
    checkpoint = causal.sqft(tmp_path)
    with packed(checkpoint, None, None, None) as archive:
        assert "adapter/elastic_adapter_config.json" in members(archive)
    base, adapter = checkpoint / "base", checkpoint / "adapter"
    space = adapter / "elastic_adapter_config.json"
    with packed(None, base, adapter, None) as archive:
        assert "adapter/elastic_adapter_config.json" in members(archive)
    with packed(None, base, adapter, space.rename(tmp_path / "groups.json")) as archive:
        assert "elastic_adapter_config.json" in members(archive)
    shears = causal.with_json(tmp_path, "adapter/elastic_adapter_config.json", []) / "shears.json"
    shears.write_text(json.dumps(causal.template()))
    with packed(None, base, adapter, shears) as archive:
        found = members(archive)
    assert "nncf_config.json" in found
    assert "adapter/elastic_adapter_config.json" not in found


def test_a_space_that_is_named_goes_before_the_folders_own(tmp_path: Path):
    checkpoint = write_checkpoint(tmp_path)
    space = tmp_path / "released_space.json"
    space.write_text(json.dumps(nncf_config()))
    with packed(checkpoint, None, None, space) as archive:
        found = members(archive)
    assert "nncf_config.json" in found
    assert "search_space.json" not in found


def test_what_a_language_model_ends_and_converses_with_goes_with_it(tmp_path: Path):
    checkpoint = write_checkpoint(tmp_path)
    beside = ("generation_config.json", "chat_template.jinja")
    for name in beside:
        (checkpoint / "base" / name).write_text("{}")
    with packed(checkpoint, None, None, None) as archive:
        assert {f"base/{name}" for name in beside} <= members(archive)


@pytest.mark.parametrize("part", ["adapter", "space"])
def test_a_part_beside_an_archive_is_refused(tmp_path: Path, part):
    archive = tmp_path / "checkpoint.zip"
    archive.write_bytes(b"PK")
    beside = {"adapter": None, "space": None, part: tmp_path / "beside"}
    with (
        pytest.raises(InputError, match=part),
        packed(archive, None, beside["adapter"], beside["space"]),
    ):
        pass


def test_an_archive_is_sent_as_it_is(tmp_path: Path):
    archive = tmp_path / "checkpoint.zip"
    archive.write_bytes(b"PK")
    with packed(archive, None, None, None) as found:
        assert found == archive


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({}, "checkpoint"),
        ({"checkpoint": "nowhere"}, "nowhere"),
        ({"base": "nowhere", "space": "s.json"}, "base.*nowhere"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, names, message):
    (tmp_path / "s.json").write_text("{}")
    paths = {name: tmp_path / value for name, value in names.items()}
    arguments = [paths.get(name) for name in ("checkpoint", "base", "adapter", "space")]
    with pytest.raises(InputError, match=message), packed(*arguments):
        pass


def test_a_checkpoint_without_a_space_is_refused_before_it_is_sent(tmp_path: Path):
    checkpoint = write_checkpoint(tmp_path)
    (checkpoint / "search_space.json").unlink()
    with (
        pytest.raises(InputError, match=r"search_space\.json"),
        packed(checkpoint, None, None, None),
    ):
        pass


@pytest.mark.parametrize("place", ["base", "lora"])
def test_an_adapter_that_would_stay_behind_is_refused(tmp_path: Path, place):
    checkpoint = write_checkpoint(tmp_path)
    (checkpoint / place).mkdir(exist_ok=True)
    for file in (checkpoint / "adapter").iterdir():
        file.rename(checkpoint / place / file.name)
    (checkpoint / "adapter").rmdir()
    message = rf"{place}/adapter_config\.json.*put it into adapter/"
    with pytest.raises(InputError, match=message), packed(checkpoint, None, None, None):
        pass


def test_an_adapter_beside_a_base_that_is_given_by_itself_is_refused(tmp_path: Path):
    checkpoint = write_checkpoint(tmp_path)
    space, base = checkpoint / "search_space.json", checkpoint / "base"
    for file in (checkpoint / "adapter").iterdir():
        file.rename(base / file.name)
    with pytest.raises(InputError, match="put it into adapter/"), packed(None, base, None, space):
        pass
    with packed(None, base, base, space) as archive:
        assert "adapter/adapter_config.json" in members(archive)
