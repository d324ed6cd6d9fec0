"""Exported heterogeneous subnets, as Transformers loads them elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification

from elasticnas.api_schemas.model_dicts import ModelDict, model_dict_of
from elasticnas.search.model_dict import subnet_of
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.contracts.families import exported, logits, padded, stock_logits
from elasticnas.supernet.supernet import Supernet
from tests.supernet.heterogeneous import drawn, with_operation, write_heterogeneous


@pytest.fixture(scope="module", params=[False, True], ids=["own widths", "one width"])
def supernet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Supernet:
    folder = tmp_path_factory.mktemp("heterogeneous")
    return read_supernet(write_heterogeneous(folder, one_hidden=request.param))


def homogeneous(supernet: Supernet) -> SubnetConfig:
    """Half the heads and half the channels, which a stock BERT has as well."""
    half = {"heads": 2, "hidden": 12, "ffn": 20, "blocks": 2}
    return supernet.space.subnet(
        {d.name: half[d.part] for d in supernet.space.dimensions if d.part in half}
    )


def test_a_homogeneous_subnet_is_a_stock_bert(supernet: Supernet, tmp_path: Path) -> None:
    for number, subnet in enumerate((supernet.space.maximal, homogeneous(supernet))):
        folder = exported(supernet, subnet, tmp_path / str(number))
        assert not list(folder.glob("*.py"))
        assert json.loads((folder / "config.json").read_text())["model_type"] == "bert"
        loaded = AutoModelForSequenceClassification.from_pretrained(folder)
        assert type(loaded) is BertForSequenceClassification
        found = stock_logits(loaded, padded())
        torch.testing.assert_close(found, logits(supernet, subnet, padded()), rtol=0, atol=1e-5)


def test_any_other_carries_its_code_and_no_weight_that_it_does_not_use(
    supernet: Supernet, tmp_path: Path
) -> None:
    for number, subnet in enumerate(drawn(supernet, 6)[1:]):
        folder = exported(supernet, subnet, tmp_path / f"subnet_{number}")
        code = (folder / "modeling_flexibert.py").read_text()
        assert "elasticnas." not in code
        loaded = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
        assert type(loaded).__module__.startswith("transformers_modules")
        file = load_file(folder / "model.safetensors")
        assert set(file) == set(loaded.state_dict())
        config = json.loads((folder / "config.json").read_text())
        named = ModelDict.model_validate(model_dict_of(config))
        assert subnet_of(named, supernet.space) == subnet
        told = zip(config["layers"], config["similarity_list"], strict=True)
        for place, (layer, parameter) in enumerate(told):
            (operation,) = layer["operations"]
            assert parameter == (layer["kernel"] if operation == "conv" else operation)
            mine = f"bert.encoder.layer.{place}.operations."
            assert {name.split(".")[5] for name in file if name.startswith(mine)} <= {operation}
        found = stock_logits(loaded, padded())
        torch.testing.assert_close(found, logits(supernet, subnet, padded()), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_it_loads_where_nothing_of_ours_is_installed(supernet: Supernet, tmp_path: Path) -> None:
    folder = exported(supernet, with_operation(supernet, "conv"), tmp_path / "subnet")
    script = (
        "import sys; sys.modules['elasticnas'] = None\n"
        "import torch; from transformers import AutoModelForSequenceClassification as A\n"
        f"model = A.from_pretrained({str(folder)!r}, trust_remote_code=True)\n"
        "print(model(input_ids=torch.tensor([[2, 7, 9, 3]])).logits.tolist())"
    )
    home = {**os.environ, "HF_HOME": str(tmp_path / "home")}
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=home
    )
    found = torch.tensor(json.loads(ran.stdout))
    loaded = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
    with torch.inference_mode():
        expected = loaded(input_ids=torch.tensor([[2, 7, 9, 3]])).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
