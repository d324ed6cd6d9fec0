"""Wanda's masks, against a computation of them that shares nothing with ours but the paper."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.training import ShearsSettings, Sparsity
from elasticnas.supernet.checkpoint import changed_copy
from elasticnas.supernet.checkpoint.tokenizer import read_tokenizer
from elasticnas.supernet.methods.step import StepRun, TrainingData
from elasticnas.supernet.methods.wanda import sparsify
from elasticnas.tasks import TEXT_CLASSIFICATION
from elasticnas.tasks.rows import Rows
from tests.supernet.tiny import sentences, tiny_model, write_tokenizer

TEXTS = sentences(24, seed=3)


def see(kept: list[torch.Tensor], _: nn.Module, given: tuple[torch.Tensor], __: object) -> None:
    kept.append(given[0][0])


def plain_wanda(
    model: PreTrainedModel, layers: Sequence[str], rows: list[list[int]], prune: Callable
) -> None:
    """Prune a stock model in place: whole forward passes, a row at a time, hooks on its layers."""
    for layer in layers:
        linears = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and name.startswith(f"{layer}.")
        }
        seen: dict[str, list[torch.Tensor]] = {name: [] for name in linears}
        hooks = [
            module.register_forward_hook(partial(see, seen[name]))
            for name, module in linears.items()
        ]
        with torch.no_grad():
            for row in rows:
                model(torch.tensor([row]))
            for hook in hooks:
                hook.remove()
            for name, module in linears.items():
                norms = torch.cat(seen[name]).norm(dim=0)
                for weights in module.weight:
                    prune(weights, weights.abs() * norms)


def smallest(share: float) -> Callable[[torch.Tensor, torch.Tensor], None]:
    def prune(weights: torch.Tensor, scores: torch.Tensor) -> None:
        weights[scores.argsort()[: int(len(weights) * share)]] = 0

    return prune


def two_of_four(weights: torch.Tensor, scores: torch.Tensor) -> None:
    for start in range(0, len(weights), 4):
        weights[start + scores[start : start + 4].argsort()[:2]] = 0


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wanda") / "encoder"
    tiny_model("bert").half().save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def run_sparsify(base: Path, output: Path, **settings) -> Path:
    output.mkdir()
    run = StepRun(
        settings=ShearsSettings(calibration_rows=len(TEXTS), **settings),
        source=base,
        data=TrainingData(
            Rows({"text": TEXTS}, np.array([0, 1] * (len(TEXTS) // 2))), TEXT_CLASSIFICATION, 2
        ),
        output=output,
        saved=None,
        device=torch.device("cpu"),
        tell=lambda _: None,
        keep=lambda _done, _save: None,
        must_stop=lambda: False,
    )
    sparsify(run)
    return output


@pytest.mark.parametrize(
    ("sparsity", "prune"), [(0.5, smallest(0.5)), (0.3, smallest(0.3)), ("2:4", two_of_four)]
)
def test_masks_are_those_of_the_paper(encoder: Path, tmp_path: Path, sparsity: Sparsity, prune):
    found = load_file(
        run_sparsify(encoder, tmp_path / "out", sparsity=sparsity) / "model.safetensors"
    )
    model = AutoModelForSequenceClassification.from_pretrained(encoder, dtype=torch.float32)
    rows = read_tokenizer(encoder)(TEXTS)["input_ids"]
    layers = [f"bert.encoder.layer.{n}" for n in range(model.config.num_hidden_layers)]
    plain_wanda(model.eval(), layers, rows, prune)
    before = load_file(encoder / "model.safetensors")
    for name, tensor in model.state_dict().items():
        assert found[name].dtype == torch.float16
        if name.startswith("bert.encoder.layer") and tensor.ndim == 2:
            assert torch.equal(found[name] == 0, tensor == 0), name
            assert torch.equal(found[name][tensor != 0], before[name][tensor != 0])
        else:
            assert torch.equal(found[name], before[name])


def test_half_of_every_row_is_zero(encoder: Path, tmp_path: Path):
    tensors = load_file(run_sparsify(encoder, tmp_path / "out") / "model.safetensors")
    pruned = {n: t for n, t in tensors.items() if ".layer." in n and t.ndim == 2}
    assert len(pruned) == 18
    for tensor in pruned.values():
        assert ((tensor == 0).sum(dim=1) == tensor.shape[1] // 2).all()


def test_every_block_may_have_its_own_sparsity(encoder: Path, tmp_path: Path):
    output = run_sparsify(encoder, tmp_path / "out", sparsity=(0.0, "1:4", 0.75))
    tensors = load_file(output / "model.safetensors")
    shares = [
        float((tensors[f"bert.encoder.layer.{n}.attention.self.query.weight"] == 0).float().mean())
        for n in range(3)
    ]
    assert shares == [0, 0.75, 0.75]


@pytest.mark.parametrize(
    ("sparsity", "problem"),
    [((0.5, 0.5), "3 blocks, the list is for 2"), ("3:5", "24 inputs.*groups of 5")],
)
def test_a_sparsity_that_does_not_fit_the_model_is_refused(
    encoder: Path, tmp_path: Path, sparsity, problem: str
):
    with pytest.raises(InputError, match=problem):
        run_sparsify(encoder, tmp_path / "out", sparsity=sparsity)


def test_a_large_model_is_written_in_several_files(encoder: Path, tmp_path: Path, monkeypatch):
    whole = load_file(run_sparsify(encoder, tmp_path / "whole") / "model.safetensors")
    monkeypatch.setattr(changed_copy, "_SHARD", 8_000)
    folder = run_sparsify(encoder, tmp_path / "parts")
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 2
    loaded = AutoModelForSequenceClassification.from_pretrained(folder).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in whole.items())


def test_tied_tensors_of_a_pickle_are_written_apart(encoder: Path, tmp_path: Path):
    folder = tmp_path / "pickle"
    folder.mkdir()
    for file in encoder.iterdir():
        if file.name != "model.safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    tensors = load_file(encoder / "model.safetensors")
    tensors["cls.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"]
    torch.save(tensors, folder / "pytorch_model.bin")
    found = load_file(run_sparsify(folder, tmp_path / "out") / "model.safetensors")
    expected = load_file(run_sparsify(encoder, tmp_path / "same") / "model.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
