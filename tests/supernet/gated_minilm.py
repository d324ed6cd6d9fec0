"""A fine-tuned MiniLM of which it is known which adapters can help, and rows for it."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from random import Random

import numpy as np
from safetensors.torch import load_file, save_file

from elasticnas.api_schemas.weights import SubnetCard, WeightsFormat
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.export import export_subnet
from elasticnas.supernet.methods.step import TrainingData
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import TEXT_CLASSIFICATION
from elasticnas.tasks.rows import Rows

Row = dict[str, object]
CODES = ("amber", "violet")
CARD = SubnetCard(
    supernet_name="minilm",
    dataset_name="sst2",
    dataset_rows=1,
    search_id="s1",
    number=0,
    metrics={},
    cost={"gflops": 1.0, "params": 1, "nonzero_params": 1},
    max_length=64,
)


def tuned_minilm(data: Path, minilm: Path, folder: Path) -> Path:
    """The maximal subnet of the published super-network: MiniLM, fine-tuned on SST-2."""
    source, net = data / "lonas-minilm-sst2", folder / "net"
    net.mkdir()
    (net / "base").symlink_to(minilm)
    (net / "adapter").mkdir()
    for name in ("adapter_config.json", "adapter_model.bin"):
        shutil.copy(source / name, net / "adapter" / name)
    shutil.copy(source / "nncf_lonas_minilm_sst2.json", net / "nncf_config.json")
    supernet = read_supernet(net)
    return merged(supernet, supernet.space.maximal, folder / "tuned")


def merged(supernet: Supernet, subnet: SubnetConfig, folder: Path) -> Path:
    """A subnet as a stock model's folder."""
    archive = export_subnet(
        supernet,
        subnet,
        CARD,
        WeightsFormat.TRANSFORMERS,
        archive=folder.with_suffix(".zip"),
        folder=folder.name,
    )
    with zipfile.ZipFile(archive) as zipped:
        zipped.extractall(folder.parent)
    return folder


def with_dead_layers(base: Path, dead: Collection[int], folder: Path) -> Path:
    """The model with what attention gives set to zero in some layers.

    No adapter of query or value there can change anything.
    """
    shutil.copytree(base, folder)
    tensors = load_file(base / "model.safetensors")
    for layer in dead:
        for part in ("weight", "bias"):
            name = f"bert.encoder.layer.{layer}.attention.output.dense.{part}"
            tensors[name] = tensors[name].zero_()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def phrases(data: Path, count: int, seed: int) -> list[Row]:
    """So many rows of SST-2's training file of 4 to 10 words."""
    lines = (data / "sst2" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    short = [row for row in rows if 4 <= len(row["sentence"].split()) <= 10]
    return Random(seed).sample(short, count)


def coded(rows: Sequence[Row], code_of: Callable[[Row], int]) -> list[Row]:
    """The rows with a code word before each text."""
    return [row | {"sentence": f"{CODES[code_of(row)]} {row['sentence']}"} for row in rows]


def told(rows: Sequence[Row]) -> list[Row]:
    """Rows whose code word gives the label away."""
    return coded(rows, lambda row: int(str(row["label"])))


def untold(rows: Sequence[Row], seed: int) -> list[Row]:
    """Rows whose code word is a coin's."""
    random = Random(seed)
    return coded(rows, lambda _: random.randrange(2))


def write(rows: Sequence[Row], file: Path) -> Path:
    """Rows as JSON Lines of text and label."""
    kept = [{"sentence": row["sentence"], "label": row["label"]} for row in rows]
    file.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    return file


def training_data(rows: Sequence[Row]) -> TrainingData:
    """Rows as a recipe learns from them."""
    texts = [str(row["sentence"]) for row in rows]
    labels = np.array([int(str(row["label"])) for row in rows])
    return TrainingData(Rows({"sentence": texts}, labels), TEXT_CLASSIFICATION, 2)
