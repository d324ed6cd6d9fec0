"""Exported weights, loaded by a process that cannot import any package of this project."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from elasticnas.api_schemas.halving import RungRead
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.training_starts import StartedFrom
from elasticnas.api_schemas.weights import FinetunedCard, SubnetCard, WeightsFormat
from elasticnas.search.cost import cost_report
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.export import export_subnet
from elasticnas.supernet.export.lazy_tensors import subnet_tensors
from elasticnas.supernet.export.transformers_folder import write_transformers_folder
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.supernet import Supernet
from tests.supernet.stranger import Stranger
from tests.supernet.test_activation import EVERYWHERE, FAMILY_NAMES
from tests.supernet.tiny import LAYERS, sentences, with_halves, write_checkpoint


@pytest.fixture(scope="module")
def stranger() -> Iterator[Stranger]:
    stranger = Stranger()
    yield stranger
    stranger.close()


def card() -> SubnetCard:
    return SubnetCard(
        supernet_name="tiny film critic",
        dataset_name="films",
        dataset_rows=60,
        search_id="s1",
        number=17,
        metrics={"accuracy": 0.8125},
        cost={"gflops": 0.25, "params": 12345, "nonzero_params": 1},
        max_length=32,
    )


def export(supernet: Supernet, subnet: SubnetConfig, weights_format: str, tmp_path: Path) -> Path:
    archive = export_subnet(
        supernet,
        subnet,
        card(),
        WeightsFormat(weights_format),
        archive=tmp_path / "export" / "subnet.zip",
        folder="subnet-17",
    )
    with zipfile.ZipFile(archive) as zipped:
        assert {name.partition("/")[0] for name in zipped.namelist()} == {"subnet-17"}
        zipped.extractall(tmp_path / "unpacked")
    return tmp_path / "unpacked" / "subnet-17"


def evaluated_logits(supernet: Supernet, subnet: SubnetConfig) -> torch.Tensor:
    encoded = dict(load_tokenizer(supernet)(sentences(6), padding=True, return_tensors="pt"))
    if not supernet.family.type_ids:
        encoded.pop("token_type_ids", None)
    with torch.inference_mode():
        return activate(supernet, subnet).logits(encoded)


@pytest.mark.parametrize("model_type", FAMILY_NAMES)
def test_uneven_widths_load_with_the_code_that_the_folder_carries(
    tmp_path: Path, model_type, stranger
):
    supernet = read_supernet(
        write_checkpoint(tmp_path / "c", model_type, adapted=EVERYWHERE, depth=True, labels=3)
    )
    subnet = supernet.space.subnet(
        {
            "layer.0.attention.heads": 3,
            "layer.1.attention.heads": 1,
            "layer.1.ffn.width": 7,
            "layer.0.lora.rank": 2,
            "depth": 2,
        }
    )
    folder = export(supernet, subnet, "transformers", tmp_path)
    assert (folder / "modeling_subnet.py").is_file()
    found = stranger.load(folder, "transformers-with-code", supernet)
    assert found["class"].startswith("Subnet")
    torch.testing.assert_close(
        torch.tensor(found["logits"]), evaluated_logits(supernet, subnet), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("model_type", FAMILY_NAMES)
def test_halves_of_layers_that_are_left_out_are_not_in_the_folder(
    tmp_path: Path, model_type, stranger
):
    supernet = read_supernet(with_halves(tmp_path / "c", model_type))
    subnet = supernet.space.subnet({"out": (0, "1.ffn"), "heads": 2})
    folder = export(supernet, subnet, "transformers", tmp_path)
    found = stranger.load(folder, "transformers-with-code", supernet)
    torch.testing.assert_close(
        torch.tensor(found["logits"]), evaluated_logits(supernet, subnet), rtol=1e-4, atol=1e-5
    )
    cost = cost_report(cost_model(supernet), subnet, 16)
    assert sum(torch.Size(t.shape).numel() for t in subnet_tensors(supernet, subnet).values()) == (
        cost.params
    )
    assert "| 1 | 2 of 4 | left out |" in (folder / "README.md").read_text()


@pytest.mark.parametrize("model_type", FAMILY_NAMES)
def test_a_subnet_that_a_stock_config_can_say_carries_no_code(tmp_path: Path, model_type, stranger):
    supernet = read_supernet(write_checkpoint(tmp_path / "c", model_type, depth=True))
    subnet = supernet.space.subnet(
        {"depth": 2, **{f"layer.{i}.ffn.width": 24 for i in range(2)}, "layer.1.lora.rank": 1}
    )
    folder = export(supernet, subnet, "transformers", tmp_path)
    assert not list(folder.glob("*.py"))
    assert "auto_map" not in json.loads((folder / "config.json").read_text())
    found = stranger.load(folder, "transformers", supernet)
    assert "Subnet" not in found["class"]
    torch.testing.assert_close(
        torch.tensor(found["logits"]), evaluated_logits(supernet, subnet), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("model_type", FAMILY_NAMES)
@pytest.mark.parametrize("kept", [(1, 3), (0, 2, 3), ()])
def test_any_blocks_are_exported_as_a_shallower_stock_model(
    tmp_path: Path, model_type, kept, stranger
):
    folder = write_checkpoint(tmp_path / "c", model_type, adapted=(), layers=4)
    skipped = [block for block in range(4) if block not in kept]
    blocks = {"name": "left out", "part": "blocks", "ordered": False, "choices": [[], skipped]}
    space = {"version": 2, "dimensions": [blocks]}
    (folder / "search_space.json").write_text(json.dumps(space))
    supernet = read_supernet(folder)
    written = export(supernet, supernet.space.minimal, "transformers", tmp_path)
    assert not list(written.glob("*.py"))
    base, state = (load_file(f / "model.safetensors") for f in (folder / "base", written))
    layers = supernet.family.layers
    for place, block in enumerate(kept):
        of_block = {n: t for n, t in base.items() if n.startswith(f"{layers}.{block}.")}
        assert of_block
        for name, tensor in of_block.items():
            found = state.pop(name.replace(f"{layers}.{block}.", f"{layers}.{place}."))
            assert torch.equal(found, tensor)
    assert not any(name.startswith(layers) for name in state)
    stock = torch.tensor(stranger.load(written, "transformers", supernet)["logits"])
    subnets = evaluated_logits(supernet, supernet.space.minimal)
    torch.testing.assert_close(stock, subnets, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model_type", FAMILY_NAMES)
def test_a_subnet_that_cuts_ranks_only_loads_as_a_stock_adapter(
    tmp_path: Path, model_type, stranger
):
    supernet = read_supernet(write_checkpoint(tmp_path / "c", model_type, adapted=EVERYWHERE))
    subnet = supernet.space.subnet({"layer.0.lora.rank": 1, "layer.2.lora.rank": 2})
    folder = export(supernet, subnet, "peft", tmp_path)
    found = stranger.load(folder, "peft", supernet)
    torch.testing.assert_close(
        torch.tensor(found["logits"]), evaluated_logits(supernet, subnet), rtol=1e-4, atol=1e-5
    )


def test_an_adapter_is_refused_when_more_than_ranks_was_cut(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path / "c"))
    subnet = supernet.space.subnet({"layer.1.ffn.width": 7})
    with pytest.raises(InputError, match=r"layer\.1\.ffn\.width = 7 of 40"):
        export(supernet, subnet, "peft", tmp_path)
    assert not list((tmp_path / "export").iterdir())


def test_an_adapter_is_refused_when_the_supernet_has_none(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path / "c", adapted=()))
    with pytest.raises(InputError, match="no LoRA adapter"):
        export(supernet, supernet.space.maximal, "peft", tmp_path)


def test_the_model_card_tells_subnet_metrics_and_cost(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path / "c"))
    folder = export(supernet, supernet.space.heuristic, "transformers", tmp_path)
    text = (folder / "README.md").read_text()
    assert "| accuracy | 0.8125 |" in text
    assert "| params | 12,345 |" in text
    assert text.count("| 3 of 4 | 24 of 40 | 2 of 4 |") == LAYERS
    assert text.startswith("---\nlibrary_name: transformers")


def test_the_model_card_tells_where_a_training_began_and_how_it_went(tmp_path: Path):
    trained = FinetunedCard(
        dataset_name="more films",
        dataset_rows=200,
        start=StartedFrom(number=4, overlap=0.625, layers=2),
        rungs=[
            RungRead(steps=10, metrics={"accuracy": 0.5}),
            RungRead(steps=20, metrics={"accuracy": 0.75}),
        ],
    )
    supernet = read_supernet(write_checkpoint(tmp_path / "c"))
    (folder := tmp_path / "folder").mkdir()
    said = card().model_copy(update={"finetuned": trained})
    write_transformers_folder(supernet, supernet.space.heuristic, said, folder)
    text = " ".join((folder / "README.md").read_text().split())
    assert "began with the weights that subnet 4 of that search had learnt" in text
    assert "62 % of its parameters" in text
    assert "| metric | value | after 10 steps | after 20 steps |" in text
    assert "| accuracy | 0.8125 | 0.5000 | 0.7500 |" in text


@pytest.mark.parametrize("adapted", [(), EVERYWHERE], ids=["dense", "adapted"])
def test_the_card_counts_the_non_zero_parameters_of_what_it_says_to_load(tmp_path: Path, adapted):
    checkpoint = write_checkpoint(tmp_path / "c", adapted=adapted)
    file = checkpoint / "base" / "model.safetensors"
    torch.manual_seed(0)
    sparse = {
        name: tensor * (torch.rand_like(tensor) > 0.5) if ".layer." in name else tensor
        for name, tensor in load_file(file).items()
    }
    save_file(sparse, file, metadata={"format": "pt"})
    supernet = read_supernet(checkpoint)
    folder = export(supernet, supernet.space.heuristic, "transformers", tmp_path)
    held = nonzero_in(folder / "model.safetensors")
    assert told(folder) == held
    dense = sum(t.numel() for t in load_file(folder / "model.safetensors").values())
    assert held < dense
    if adapted:
        ranks = {d.name: 1 for d in supernet.space.dimensions if d.part == "rank"}
        folder = export(supernet, supernet.space.subnet(ranks), "peft", tmp_path)
        head = sum(int((supernet.model.get_parameter(n) != 0).sum()) for n in supernet.head_tensors)
        adapter = nonzero_in(folder / "adapter_model.safetensors")
        assert told(folder) == nonzero_in(file) + adapter - head


EXPORT = """
import sys
from pathlib import Path
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.export.transformers_folder import write_transformers_folder
from tests.supernet.test_export import card
supernet = read_supernet(Path(sys.argv[1]))
named = card().model_copy(update={"supernet_name": chr(0x60C5) + chr(0x611F)})
write_transformers_folder(supernet, supernet.space.maximal, named, Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_files_are_utf_8_whatever_the_locale(tmp_path: Path):
    checkpoint = write_checkpoint(tmp_path / "c")
    config = checkpoint / "base" / "tokenizer_config.json"
    options = json.loads(config.read_text()) | {"note": "\u60c5"}
    config.write_text(json.dumps(options, ensure_ascii=False), encoding="utf-8")
    folder = tmp_path / "out"
    folder.mkdir()
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run(
        [sys.executable, "-c", EXPORT, str(checkpoint), str(folder)],
        env=os.environ | ascii_only | {"PYTHONPATH": str(Path(__file__).parents[2])},
        check=True,
    )
    assert "\u60c5\u611f" in (folder / "README.md").read_text(encoding="utf-8")


def nonzero_in(file: Path) -> int:
    return sum(int((tensor != 0).sum()) for tensor in load_file(file).values())


def told(folder: Path) -> int:
    """The figure on the model card."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"^\| nonzero_params \| ([\d,]+) \|$", card, re.MULTILINE)
    return int(found.replace(",", ""))


def test_one_subnet_always_gives_the_same_archive(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path / "c"))
    archives = [
        export_subnet(
            supernet,
            supernet.space.heuristic,
            card(),
            WeightsFormat.TRANSFORMERS,
            archive=tmp_path / f"{i}.zip",
            folder="subnet",
        )
        for i in range(2)
    ]
    assert archives[0].read_bytes() == archives[1].read_bytes()
