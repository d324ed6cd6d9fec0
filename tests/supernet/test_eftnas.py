"""EFTNAS's folders: what is read, what is left out, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.formats import format_of
from elasticnas.supernet.forward.activation import activate
from tests.supernet.eftnas import WIDTHS, config, linear, scores, write_folder
from tests.supernet.test_reader import tokenized
from tests.supernet.tiny import LAYERS, tiny_model


def width_section(content: dict[str, Any]) -> dict[str, Any]:
    section: dict[str, Any] = content["bootstrapNAS"]["training"]["elasticity"]["width"]
    return section


def choices(folder: Path) -> list[tuple[object, ...]]:
    return [dimension.choices for dimension in read_supernet(folder).space.dimensions]


def test_the_folder_is_read_as_it_is_or_with_its_model_in_base(tmp_path: Path):
    flat = write_folder(tmp_path / "flat")
    nested = tmp_path / "nested"
    nested.mkdir()
    write_folder(nested / "base")
    (nested / "base" / "nncf_config.json").rename(nested / "nncf_config.json")
    found = []
    for folder in (flat, nested):
        supernet = read_supernet(folder)
        assert supernet.method == "eftnas"
        assert supernet.reference_length == 16
        assert not supernet.adapters
        inputs = tokenized(supernet)
        with torch.inference_mode():
            maximal = activate(supernet, supernet.space.maximal).logits(inputs)
            torch.testing.assert_close(maximal, tiny_model("bert")(**inputs).logits)
            found.append(activate(supernet, supernet.space.minimal).logits(inputs))
    assert torch.equal(*found)


def test_the_same_config_beside_an_adapter_is_of_lonas(tmp_path: Path):
    folder = write_folder(tmp_path / "folder")
    assert format_of(folder).name == "eftnas"
    (folder / "adapter").mkdir()
    assert format_of(folder).name == "lonas"


@pytest.mark.parametrize(
    ("stages", "kept"),
    [
        ([{"train_dims": ["width"], "width_indicator": 2}], 2),
        ([{"train_dims": ["width"], "width_indicator": k} for k in (1, 2)], 2),
        ([{"train_dims": ["depth"], "width_indicator": 1}], 3),
        ([{"train_dims": ["width"], "width_indicator": -1}, {"width_indicator": 1}], 3),
        ([{"train_dims": ["width"]}], 3),
        ([], 3),
    ],
)
def test_widths_that_training_never_ran_are_left_out(tmp_path: Path, stages, kept):
    content = config()
    content["bootstrapNAS"]["training"]["schedule"]["list_stage_descriptions"] = stages
    heads = tuple(width // 6 for width in WIDTHS[0])
    expected = [heads[:kept]] * LAYERS + [tuple(WIDTHS[1][:kept])] * LAYERS
    assert choices(write_folder(tmp_path / "folder", content)) == expected


def test_the_folder_of_importance_is_no_super_network(tmp_path: Path):
    folder = write_folder(tmp_path / "folder")
    torch.save(scores(tiny_model("bert").state_dict()), folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pre_ops.*movement sparsity") as caught:
        read_supernet(folder)
    assert "movement_sparsity_*/" in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: width_section(c)["overwrite_groups_widths"].pop(), "widths.*one list of widths"),
        (
            lambda c: width_section(c)["overwrite_groups_widths"].__setitem__(0, [24, 16]),
            "widths/0.*multiple of the head size 6",
        ),
        (
            lambda c: width_section(c)["overwrite_groups_widths"].__setitem__(0, [30, 24]),
            "heads.*largest choice needs 30 channels",
        ),
        (
            lambda c: width_section(c)["add_dynamic_inputs"].append(linear(7, "X[x]", name="y")),
            "add_dynamic_inputs/3.*no linear layer",
        ),
        (
            lambda c: c["bootstrapNAS"]["training"]["schedule"].update(
                list_stage_descriptions=[{"train_dims": ["width"], "width_indicator": "all"}]
            ),
            "0/width_indicator.*whole number",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path: Path, change, message):
    content = json.loads(json.dumps(config()))
    change(content)
    with pytest.raises(InputError, match=message):
        read_supernet(write_folder(tmp_path / "folder", content))
