"""Every format that comes with ElasticNAS keeps the contract; what space files can say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.contracts.checkpoints import write_checkpoint as write_for_family
from elasticnas.supernet.contracts.formats import FormatContract
from elasticnas.supernet.families.distilbert import DISTILBERT
from elasticnas.supernet.formats.elasticnas import ELASTICNAS
from elasticnas.supernet.formats.lonas import LONAS
from elasticnas.supernet.formats.space_file import read_space
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
        ({"cuts": [{"modules": [SELF], "side": "middle"}]}, "cuts/0/side"),
    ],
)
def test_a_dimension_that_does_not_fit_the_model_is_named(tmp_path: Path, dimension, message):
    folder = with_space(tmp_path, heads(**dimension))
    with pytest.raises(InputError, match=rf"(?s)(search_space\.json|first heads).*{message}"):
        read_supernet(folder)


@pytest.mark.parametrize("version", [0, 3, "2", None])
def test_another_version_of_the_space_file_is_refused(tmp_path: Path, version):
    folder = with_space(tmp_path, heads(), version=version)
    with pytest.raises(InputError, match=r"search_space\.json/version"):
        read_space(folder / "search_space.json")
