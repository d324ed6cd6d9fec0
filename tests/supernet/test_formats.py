"""Every format that comes with ElasticNAS keeps the contract; what space files can say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.contracts.checkpoints import write_checkpoint as write_for_family
from elasticnas.supernet.contracts.formats import FormatContract
from elasticnas.supernet.families.distilbert import DISTILBERT
from elasticnas.supernet.formats import FORMATS
from elasticnas.supernet.formats.eftnas import EFTNAS
from elasticnas.supernet.formats.elasticnas import ELASTICNAS
from elasticnas.supernet.formats.lonas import LONAS
from elasticnas.supernet.formats.shears import SHEARS
from elasticnas.supernet.formats.space_file import read_space
from elasticnas.supernet.formats.sqft import SQFT
from elasticnas.supernet.forward.activation import active_blocks
from tests.supernet import causal, eftnas
from tests.supernet.test_prefixes import nncf_with_tied_ranks
from tests.supernet.test_reader import write_lonas
from tests.supernet.tiny import write_checkpoint


class TestElasticNas(FormatContract):
    format = ELASTICNAS

    def write(self, folder: Path) -> None:
        write_for_family(folder, DISTILBERT)


class TestLoNas(FormatContract):
    format = LONAS

    def write(self, folder: Path) -> None:
        write_lonas(folder)


class TestLoNasWithRanksTiedAcrossLayers(FormatContract):
    format = LONAS

    def write(self, folder: Path) -> None:
        nncf_with_tied_ranks(folder)


class TestLoNasOnLlama(FormatContract):
    format = LONAS

    def write(self, folder: Path) -> None:
        causal.lonas(folder)


class TestLoNasOnBloom(FormatContract):
    format = LONAS

    def write(self, folder: Path) -> None:
        causal.lonas(folder, "bloom")


class TestEftNas(FormatContract):
    format = EFTNAS

    def write(self, folder: Path) -> None:
        eftnas.write_folder(folder)


class TestEftNasWithDepth(FormatContract):
    format = EFTNAS

    def write(self, folder: Path) -> None:
        blocks = [[eftnas.half_end(0, "ffn"), eftnas.half_end(1, "attention")]]
        eftnas.write_folder(folder, eftnas.config(blocks=blocks))


class TestShears(FormatContract):
    format = SHEARS

    def write(self, folder: Path) -> None:
        causal.shears(folder)


class TestSqft(FormatContract):
    format = SQFT

    def write(self, folder: Path) -> None:
        causal.sqft(folder, masked=True)


class TestSqftOfOld(FormatContract):
    format = SQFT

    def write(self, folder: Path) -> None:
        causal.sqft_of_old(folder)


def test_every_format_that_comes_with_elasticnas_is_held_to_the_contract():
    held = {each.format.name for each in FormatContract.__subclasses__()}
    assert held >= set(FORMATS)


SELF = "bert.encoder.layer.0.attention.self"
OUTPUT = "bert.encoder.layer.0.attention.output.dense"


def with_space(folder: Path, *dimensions: dict[str, Any], version: object = 2) -> Path:
    write_checkpoint(folder)
    content = {"version": version, "dimensions": dimensions}
    (folder / "search_space.json").write_text(json.dumps(content))
    return folder


def heads(**changes: Any) -> dict[str, Any]:
    """The heads of layer 0, with everything that they cut."""
    cuts = [
        {"modules": [f"{SELF}.{r}" for r in ("query", "key", "value")], "side": "rows", "unit": 6},
        {"modules": [OUTPUT], "side": "columns", "unit": 6},
    ]
    return {"name": "first heads", "part": "heads", "choices": [4, 2], "cuts": cuts} | changes


def test_both_versions_say_the_same_of_a_space(tmp_path: Path):
    first = read_supernet(write_checkpoint(tmp_path / "first", depth=True))
    dimensions = [each.model_dump(mode="json") for each in first.space.dimensions]
    second = read_supernet(with_space(tmp_path / "second", *dimensions))
    assert second.space == first.space
    assert second.plan == first.plan


def test_a_dimension_may_list_what_it_cuts_under_any_name(tmp_path: Path):
    supernet = read_supernet(with_space(tmp_path, heads()))
    assert supernet.plan.cuts == tuple(supernet.shape.head_cuts("first heads", 0))


def test_a_rank_may_be_that_of_some_layers_of_a_block(tmp_path: Path):
    rank = {"name": "r", "part": "rank", "layer": 1, "roles": ["query"], "choices": [4, 1]}
    supernet = read_supernet(with_space(tmp_path, rank))
    assert {cut.tensor.rpartition(".")[0] for cut in supernet.plan.cuts} == {
        "bert.encoder.layer.1.attention.self.query"
    }


@pytest.mark.parametrize(
    ("dimension", "message"),
    [
        ({"cuts": heads()["cuts"][:1]}, "not cut alike.*output.dense.weight, axis 1, unit 6"),
        ({"cuts": [heads()["cuts"][1]]}, "not cut alike.*key.bias"),
        ({"cuts": heads()["cuts"], "choices": [24, 12], "part": "x"}, "more than the 24"),
        (
            {"cuts": [{"modules": ["bert.pooler.dense"], "side": "rows", "unit": 6}]},
            "no linear layer of this name.*pooler",
        ),
        ({"cuts": [], "layer": 3}, "3 layers"),
        ({"cuts": []}, "neither cuts nor part and layer"),
        ({"cuts": [], "layer": 0, "part": "nose"}, "neither cuts nor part and layer.*nose"),
        ({"choices": ["all", "few"], "ordered": False}, "whole numbers that descend"),
        ({"choices": [3, 1, 2], "ordered": False, "part": "blocks"}, "largest depth.*descend"),
        ({"cuts": [], "part": "blocks", "choices": [[], [3]]}, "0 to 2"),
        ({"cuts": [], "part": "blocks", "choices": [[], ["1.nose"]]}, "leave out, by numbers"),
        ({"cuts": [], "part": "blocks", "choices": [[1], []]}, "first must be empty"),
        ({"cuts": [], "part": "blocks", "choices": [3, [1]]}, "or lists"),
        ({"cuts": [], "part": "blocks", "choices": [[], [-1]]}, "0 to 2"),
        ({"cuts": [{"modules": [SELF], "side": "middle"}]}, "cuts/0/side"),
    ],
)
def test_a_dimension_that_does_not_fit_the_model_is_named(tmp_path: Path, dimension, message):
    folder = with_space(tmp_path, heads(**dimension))
    with pytest.raises(InputError, match=rf"(?s)(search_space\.json|first heads).*{message}"):
        read_supernet(folder)


def left_out(*choices: Any, name: str = "left out") -> dict[str, Any]:
    return {"name": name, "part": "blocks", "choices": choices, "ordered": False}


def test_a_dimension_of_blocks_leaves_out_any_set_of_them(tmp_path: Path):
    supernet = read_supernet(with_space(tmp_path, left_out([], [1], [0, 2])))
    space = supernet.space
    subnets = [space.maximal, space.subnet({"left out": (1,)}), space.minimal]
    assert [active_blocks(supernet, each) for each in subnets] == [(0, 1, 2), (0, 2), (1,)]


def test_dimensions_of_blocks_leave_out_what_any_of_them_does(tmp_path: Path):
    each = [left_out([], [i], name=f"block {i}") for i in range(3)]
    supernet = read_supernet(with_space(tmp_path, *each))
    subnet = supernet.space.subnet({"block 0": (0,), "block 2": (2,)})
    assert active_blocks(supernet, subnet) == (1,)
    assert active_blocks(supernet, supernet.space.minimal) == ()


def test_numbers_of_blocks_are_the_lists_of_those_behind_them(tmp_path: Path):
    depth = {"name": "left out", "part": "blocks", "choices": [3, 2, 1]}
    by_number = read_supernet(with_space(tmp_path / "number", depth))
    by_list = read_supernet(with_space(tmp_path / "list", left_out([], [2], [1, 2])))
    for one, other in zip(by_number.space.enumerate(), by_list.space.enumerate(), strict=True):
        assert active_blocks(by_number, one) == active_blocks(by_list, other)


def test_a_plan_that_runs_half_a_block_is_refused(tmp_path: Path):
    supernet = read_supernet(with_space(tmp_path, left_out([], [1])))
    plan = replace(supernet.plan, presences=supernet.plan.presences[:1])
    with pytest.raises(InputError, match="block 1 would run without its"):
        plan.validate(supernet.space, supernet.shape.shapes)


@pytest.mark.parametrize("version", [0, 3, "2", None])
def test_another_version_of_the_space_file_is_refused(tmp_path: Path, version):
    folder = with_space(tmp_path, heads(), version=version)
    with pytest.raises(InputError, match=r"search_space\.json/version"):
        read_space(folder / "search_space.json")
