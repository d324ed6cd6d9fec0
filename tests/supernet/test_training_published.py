"""What we make of a published language model, against what the original implementations made.

``pytest -m slow -s`` shows the figures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from elasticnas.api_schemas.training import ShearsSettings, TrainingSettings
from elasticnas.search.cost import cost_report
from elasticnas.search.pareto import hypervolume
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.measuring.measure import predict
from elasticnas.supernet.measuring.probes import PROBES
from elasticnas.supernet.methods.local import run_recipe
from elasticnas.supernet.methods.pretrained import pretrained, training_rows
from elasticnas.supernet.methods.step import StepRun, TrainingData
from elasticnas.supernet.methods.wanda import sparsify
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import MULTIPLE_CHOICE
from elasticnas.tasks.rows import Rows
from elasticnas.tasks.task import LabelsOfDataset, RowsOfDataset
from tests.supernet.published import published, references, subnet_of
from tests.supernet.test_wanda import plain_wanda, smallest

pytestmark = pytest.mark.slow

PROMPT = {"prompt": "Text: {sentence1}\nKind:"}
ORIGINALS = {
    "steps": 72,
    "batch_size": 16,
    "learning_rate": 4e-3,
    "warmup": 0.0,
    "schedule": "cosine",
    "max_gradient_norm": 1.0,
    "lora_rank": 16,
    "lora_alpha": 32.0,
    "max_length": 256,
    "task_settings": PROMPT,
}
"""How the published super-networks were trained."""


def textkind(data: Path, split: str, count: int) -> Rows:
    lines = (data / "textkind" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines[:count]]
    return Rows(
        {"sentence1": [row["sentence1"] for row in found]},
        np.array([row["label"] for row in found]),
        [row["choices"] for row in found],
    )


def training_data(data: Path) -> TrainingData:
    return TrainingData(textkind(data, "train", 1152), MULTIPLE_CHOICE, 6)


def perplexity(model: Any, data: Path) -> float:
    """Of the fixed text of the references: questions of GSM8K in 16 windows of 127 tokens."""
    tokenizer = AutoTokenizer.from_pretrained(data / "llama-base")
    ids: list[int] = []
    for line in (data / "gsm8k" / "validation.jsonl").read_text(encoding="utf-8").splitlines():
        if len(ids) < 2032:
            ids += [
                *tokenizer(json.loads(line)["sentence1"], add_special_tokens=False).input_ids,
                2,
            ]
    tokens = torch.cat(
        [torch.ones(16, 1, dtype=torch.long), torch.tensor(ids[:2032]).view(16, 127)], 1
    )
    with torch.inference_mode():
        found = model(tokens).logits[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])
    return math.exp(-found.mean())


def is_pruned(name: str, tensor: torch.Tensor) -> bool:
    return ".layers." in name and tensor.ndim == 2


def test_wanda_on_a_language_model(shared_data: Path, tmp_path: Path):
    base, original = shared_data / "llama-base", shared_data / "llama-base-sparse50"
    data, settings = training_data(shared_data), ShearsSettings(task_settings=PROMPT)
    run = StepRun(
        settings=settings,
        source=base,
        data=data,
        output=tmp_path,
        saved=None,
        device=torch.device("cpu"),
        tell=lambda _: None,
        keep=lambda _done, _save: None,
        must_stop=lambda: False,
    )
    sparsify(run)
    found = load_file(tmp_path / "model.safetensors")

    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    rows = training_rows(base, data, settings, pretrained(base, data))
    order = torch.randperm(1152, generator=torch.Generator().manual_seed(0)).tolist()[:128]
    sequences = [rows.inputs([row])["input_ids"][0].tolist() for row in order]
    plain_wanda(plain, [f"model.layers.{n}" for n in range(4)], sequences, smallest(0.5))
    expected, theirs = plain.state_dict(), load_file(original / "model.safetensors")
    pruned = [name for name, tensor in found.items() if is_pruned(name, tensor)]
    assert len(pruned) == 28
    same = zeros = shared = 0
    for name in pruned:
        is_zero = found[name] == 0
        assert (is_zero.sum(dim=1) == is_zero.shape[1] // 2).all()
        same += int((is_zero == (expected[name] == 0)).sum())
        shared += int((is_zero & (theirs[name] == 0)).sum())
        zeros += int(is_zero.sum())
    of_ours, of_theirs = (
        perplexity(
            AutoModelForCausalLM.from_pretrained(at, dtype=torch.float32).eval(), shared_data
        )
        for at in (tmp_path, original)
    )
    print(
        f"\nWanda: equal to the plain computation {same / zeros / 2:.6f}, of our zeros the file's "
        f"too {shared / zeros:.3f}, perplexity {of_ours:.1f} against {of_theirs:.1f}"
    )
    assert same / zeros / 2 > 1 - 1e-5  # what ties to the last bit may fall either way
    assert of_ours < 1.02 * of_theirs


@pytest.mark.parametrize(
    ("recipe", "settings", "cost"),
    [
        ("shears", ShearsSettings, "trainable_params"),
        ("lonas", TrainingSettings, "gflops"),
    ],
)
def test_a_super_network_trained_as_the_original_is_as_good(
    shared_data: Path,
    tmp_path: Path,
    recipe: str,
    settings: type[TrainingSettings],
    cost: str,
):
    """By the mean log-likelihood of the right choices of the first 96 validation rows."""
    made = run_recipe(
        recipe,
        shared_data / "llama-base",
        training_data(shared_data),
        tmp_path / "made",
        settings.model_validate(ORIGINALS),
    )
    name = f"{recipe}-llama-textkind"
    (tmp_path / "published").mkdir()
    original = published(shared_data, name, tmp_path / "published")
    ours = read_supernet(made).to(torch.device("cpu"), torch.float32)
    translated, measure = translation(original, ours), measuring(ours, shared_data)
    price = partial(cost_report, cost_model(ours), max_length=128)
    points = []
    for reference in references(shared_data, name):
        subnet = translated(subnet_of(original, reference))
        paid = getattr(price(subnet), cost)
        points.append((paid, measure(subnet), reference["textkind"]["mean_ll_gold"]))
    costs, found, expected = np.array(points).T
    worst = min(found.min(), expected.min())
    ours_volume, theirs_volume = (
        hypervolume(np.stack([costs / costs.max(), -each / -worst], axis=1), np.array([1.1, 1.1]))
        for each in (found, expected)
    )
    print(
        f"\n{recipe}: mean log-likelihood over {len(points)} subnets {found.mean():.3f}, the "
        f"original's {expected.mean():.3f}; hypervolume {ours_volume:.4f}, {theirs_volume:.4f}"
    )
    assert found.mean() >= expected.mean()
    assert ours_volume >= 0.98 * theirs_volume


def translation(theirs: Supernet, ours: Supernet) -> Callable[[SubnetConfig], SubnetConfig]:
    """From subnets of one super-network to those of another that cuts the same, by other names."""

    def cuts(supernet: Supernet) -> dict[str, frozenset[tuple[str, int]]]:
        return {
            dimension.name: frozenset(
                (cut.tensor, cut.axis)
                for cut in supernet.plan.cuts
                if cut.dimension == dimension.name
            )
            for dimension in supernet.space.dimensions
        }

    names = {cut: name for name, cut in cuts(ours).items()}
    renamed = {name: names[cut] for name, cut in cuts(theirs).items()}
    return lambda subnet: ours.space.subnet({renamed[n]: subnet[n] for n in renamed})


def measuring(supernet: Supernet, data: Path) -> Callable[[SubnetConfig], float]:
    """The mean log-likelihood of the right choice, as searches measure it."""
    rows = textkind(data, "validation", 96)
    described = RowsOfDataset(rows.columns, LabelsOfDataset(6, None, names_given=False), True)
    settings = MULTIPLE_CHOICE.settle(PROMPT, described)
    probe = PROBES[MULTIPLE_CHOICE.probe]
    examples = probe.prepare(
        rows, MULTIPLE_CHOICE, settings, load_tokenizer(supernet), supernet, 256
    )
    batches, labels = examples.batches(4096), MULTIPLE_CHOICE.labels(rows, settings)

    def measure(subnet: SubnetConfig) -> float:
        with torch.inference_mode():
            raw = predict(activate(supernet, subnet), batches, rows=len(rows), run=probe.run)
        outcomes = MULTIPLE_CHOICE.outcomes(raw.numpy(), labels, settings)
        return MULTIPLE_CHOICE.measure(outcomes)["mean_log_likelihood"]

    return measure
