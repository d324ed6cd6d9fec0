"""Training super-networks of language models, small ones of every family."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoModelForCausalLM

from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.training import LossOn, ShearsSettings, TrainingSettings
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.families import FAMILIES
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.methods.local import run_recipe
from elasticnas.supernet.methods.pretrained import pretrained, training_rows
from elasticnas.supernet.methods.step import TrainingData
from elasticnas.tasks import PERPLEXITY_TASK, TASKS, TEXT_CLASSIFICATION
from elasticnas.tasks.rows import Rows
from tests.supernet.languages import CAUSAL, END, questions, write_language_model
from tests.supernet.test_wanda import plain_wanda, smallest

ADAPTER = "adapter/adapter_model.safetensors"
SETTINGS = ShearsSettings(steps=3, batch_size=8, lora_rank=4, max_length=32)


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


@pytest.mark.parametrize("model_type", CAUSAL)
def test_every_family_is_made_sparse_and_trained(tmp_path: Path, model_type: str):
    """Wanda's masks against whole forward passes of the stock model; then ranks are elastic."""
    family = FAMILIES[model_type]
    base = write_language_model(tmp_path, family)
    before = digest(base)
    output = run_recipe("shears", base, questions(), tmp_path / "out", SETTINGS)
    assert digest(base) == before

    stock = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    examples = training_rows(base, questions(), SETTINGS, pretrained(base, questions())).examples
    rows = [tree.tokens.tolist() for (tree,) in examples.trees]
    blocks = [f"{family.layers}.{n}" for n in range(family.num_layers(stock.config))]
    plain_wanda(stock, blocks, rows, smallest(0.5))
    found = load_file(output / "base" / "model.safetensors")
    for name, tensor in stock.state_dict().items():
        if family.layer_of(name) is not None and tensor.ndim == 2:
            assert torch.equal(found[name] == 0, tensor == 0), name

    supernet = read_supernet(output)
    assert {dimension.part for dimension in supernet.space.dimensions} == {"rank"}
    assert all(adapter.b.abs().sum() > 0 for adapter in supernet.adapters.values())
    assert supernet.task_head.kind is family.task_heads[0].kind


@pytest.mark.parametrize("model_type", ["llama", "bloom"])
def test_lonas_trains_widths_and_ranks_of_a_language_model(tmp_path: Path, model_type: str):
    base = write_language_model(tmp_path, FAMILIES[model_type])
    settings = TrainingSettings(steps=3, batch_size=8, lora_rank=8, max_length=32, ranks=(8, 2))
    supernet = read_supernet(run_recipe("lonas", base, questions(), tmp_path / "out", settings))
    choices = {each.name: each.choices for each in supernet.space.dimensions}
    assert choices["layer.1.attention.lora.rank"] == choices["layer.1.ffn.lora.rank"] == (8, 2)
    assert choices["layer.1.ffn.width"] == tuple(
        supernet.family.ffn_size(supernet.config) * eighths // 8 for eighths in (8, 7, 6, 5, 4)
    )
    assert len(choices) == 9


@pytest.mark.parametrize("loss_on", LossOn)
def test_the_loss_is_that_of_the_answers_tokens(tmp_path: Path, loss_on: LossOn):
    base, data = write_language_model(tmp_path, FAMILIES["llama"]), questions()
    settings = SETTINGS.model_copy(update={"loss_on": loss_on, "lora_rank": 1})
    supernet = read_supernet(run_recipe("shears", base, data, tmp_path / "out", settings))
    rows = training_rows(base, data, settings, pretrained(base, data))
    found = rows.loss(activate(supernet, supernet.space.minimal), [0, 1, 2], torch.device("cpu"))

    losses = []
    for row in range(3):
        choice = data.rows.choices[row][int(data.rows.labels[row])]
        ids = [int(word[1:]) for word in f"{data.rows.texts['text'][row]} {choice}".split()]
        tokens = torch.tensor([[2, *ids, END]])
        logits = activate(supernet, supernet.space.minimal).logits({"input_ids": tokens[:, :-1]})
        answer = 1 if loss_on is LossOn.TEXT else len(ids) + 1 - len(choice.split())
        losses.append(
            functional.cross_entropy(logits[0, answer - 1 :], tokens[0, answer:], reduction="none")
        )
    torch.testing.assert_close(found, torch.cat(losses).mean())


def test_the_base_may_compute_in_bfloat16(tmp_path: Path):
    base, data = write_language_model(tmp_path, FAMILIES["llama"]), questions()
    settings = TrainingSettings(steps=3, batch_size=8, lora_rank=2, max_length=32)
    found = []
    for number, precision in enumerate((Precision.FLOAT32, Precision.BFLOAT16)):
        chosen = settings.model_copy(update={"precision": precision})
        output = run_recipe("lonas", base, data, tmp_path / str(number), chosen)
        a, b = (load_file(output / part) for part in (ADAPTER, "base/model.safetensors"))
        assert {tensor.dtype for tensor in a.values()} == {torch.float32}
        assert {tensor.dtype for tensor in b.values()} == {torch.float32}  # as it was
        found.append(a)
    trained = [name for name in found[0] if "lora_B" in name]
    moved = torch.cat([found[0][name].flatten() for name in trained])
    other = torch.cat([found[1][name].flatten() for name in trained])
    assert 0 < (moved - other).norm() < 0.5 * moved.norm()


def test_a_text_without_an_answer_is_learnt_whole(tmp_path: Path):
    base = write_language_model(tmp_path, FAMILIES["llama"])
    data = TrainingData(
        Rows({"text": ["w5 w6 w7 w8 w9 w10"] * 8}, np.zeros(8, np.int64)), PERPLEXITY_TASK, 1
    )
    settings = TrainingSettings(steps=2, batch_size=4, lora_rank=2, max_length=4)
    rows = training_rows(base, data, settings, pretrained(base, data))
    assert sorted(rows.lengths) == [3] * 16  # windows of three tokens behind the first
    read_supernet(run_recipe("lonas", base, data, tmp_path / "out", settings))


def test_an_answer_to_generate_is_learnt_behind_its_prompt(tmp_path: Path):
    base = write_language_model(tmp_path, FAMILIES["llama"])
    rows = Rows({"text": ["w5 w6", "w7"]}, np.array(["w8", "w9 w10"], dtype=object))
    data = TrainingData(rows, TASKS["generation"], 1)
    settings = SETTINGS.model_copy(update={"task_settings": {"prompt": "w11 {text} w12"}})
    trees = training_rows(base, data, settings, pretrained(base, data)).examples.trees
    run = [tree.tokens.tolist() for (tree,) in trees]
    assert run == [[2, 11, 5, 6, 12, 8], [2, 11, 7, 12, 9, 10]]
    assert [tree.foretold.tolist() for (tree,) in trees] == [[8, END], [9, 10, END]]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"task_settings": {"prompt": "{title}"}}, "task_settings/prompt.*title"),
        ({"adapted": ("qkv",)}, "adapted.*qkv.*choose among query"),
        ({"max_length": 100}, "max_length"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path: Path, changes, problem: str):
    base = write_language_model(tmp_path, FAMILIES["llama"])
    data = questions()
    if "max_length" in changes:
        texts = {"text": [" ".join(["w5"] * 90)] * len(data.rows)}
        data = replace(data, rows=replace(data.rows, texts=texts))
    settings = SETTINGS.model_copy(update=changes)
    with pytest.raises(InputError, match=problem):
        run_recipe("shears", base, data, tmp_path / "out", settings)


def test_a_classifiers_task_needs_a_classifier_and_a_language_models_one(tmp_path: Path):
    base = write_language_model(tmp_path, FAMILIES["llama"])
    data = TrainingData(Rows({"text": ["w5"] * 8}, np.array([0, 1] * 4)), TEXT_CLASSIFICATION, 2)
    refused = partial(run_recipe, "lonas", settings=SETTINGS)
    with pytest.raises(InputError, match="without a classifier"):
        refused(base=base, data=data, output=tmp_path / "a")
    encoder = write_language_model(tmp_path / "encoder", FAMILIES["bert"])
    with pytest.raises(InputError, match="learnt by a language model"):
        refused(base=encoder, data=questions(), output=tmp_path / "b")
