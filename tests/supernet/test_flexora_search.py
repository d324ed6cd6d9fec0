"""Layers on and off as a search of an ordinary super-network, small enough to measure it whole."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.layer_selection import scored, searched
from elasticnas.api_schemas.flexora_training import FlexoraSettings
from elasticnas.api_schemas.layer_selection import SelectionReport
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.measuring.examples import LabelledTexts, tokenize
from elasticnas.supernet.methods.flexora import finetune, read_report, select
from elasticnas.supernet.methods.step import StepRun, TrainingData
from elasticnas.supernet.supernet import Supernet
from elasticnas.supernet.training.rows import LabelledRows
from elasticnas.tasks import TEXT_CLASSIFICATION
from elasticnas.tasks.rows import Rows
from tests.supernet.stranger import Stranger
from tests.supernet.test_export import evaluated_logits, export
from tests.supernet.tiny import sentences, tiny_model, write_tokenizer

pytestmark = pytest.mark.slow

LAYERS = 6
SETTINGS = FlexoraSettings.model_validate(
    {
        **{"finetuned": "all", "sampling": "random", "repeats": 1, "select_steps": 60},
        **{"select_learning_rate": 0.01, "outer_share": 0.4, "lora_rank": 4, "max_length": 32},
        **{"steps": 150, "batch_size": 16, "learning_rate": 0.01},
    }
)
TRAINING_ROWS, MEASURED_ROWS = 400, 300


@dataclass(frozen=True)
class Searched:
    """A super-network of six layers that are on or off, the loss of each of its 64 subnets."""

    supernet: Supernet
    report: SelectionReport
    losses: Mapping[SubnetConfig, float]

    def front(self, measured: Mapping[SubnetConfig, float]) -> set[SubnetConfig]:
        """Those of the measured subnets that no other of no more layers matches."""
        return {
            one
            for one, loss in measured.items()
            if not any(
                (size(other), less) != (size(one), loss)
                and size(other) <= size(one)
                and less <= loss
                for other, less in measured.items()
            )
        }


def size(subnet: SubnetConfig) -> int:
    """The layers that are on."""
    return sum(rank != 0 for rank in subnet.values())


def step(source: Path, output: Path, data: TrainingData) -> StepRun:
    output.mkdir()
    return StepRun(
        settings=SETTINGS,
        source=source,
        data=data,
        output=output,
        saved=None,
        device=torch.device("cpu"),
        tell=lambda _: None,
        keep=lambda _, __: None,
        must_stop=lambda: False,
    )


def films(first: int, last: int) -> TrainingData:
    """Whether "good" is among the words of so many sentences."""
    texts = sentences(last, seed=5)[first:]
    rows = Rows({"text": texts}, np.array([int("good" in text) for text in texts]))
    return TrainingData(rows, TEXT_CLASSIFICATION, 2)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    folder = tmp_path_factory.mktemp("search")
    tiny_model("bert", layers=LAYERS).save_pretrained(folder / "encoder")
    write_tokenizer(folder / "encoder")
    data = films(0, TRAINING_ROWS)
    selection = step(folder / "encoder", folder / "selection", data)
    select(selection)
    tuning = step(selection.output, folder / "net", data)
    finetune(tuning)
    supernet = read_supernet(tuning.output)
    unseen = tokenize(
        LabelledTexts.of(films(TRAINING_ROWS, TRAINING_ROWS + MEASURED_ROWS).rows),
        load_tokenizer(supernet),
        supernet.family,
        task=TEXT_CLASSIFICATION,
        max_length=32,
    )
    rows = LabelledRows(unseen, TEXT_CLASSIFICATION)
    losses = {}
    names = [each.name for each in supernet.space.dimensions]
    for ranks in itertools.product((4, 0), repeat=LAYERS):
        subnet = supernet.space.subnet(dict(zip(names, ranks, strict=True)))
        losses[subnet] = scored(supernet, rows, range(MEASURED_ROWS), subnet).loss
    return Searched(supernet, read_report(selection.output), losses)


def test_pareto_finds_the_exhaustive_front_within_30_evaluations(found: Searched):
    exhaustive = found.front(found.losses)
    for warm in (False, True):
        exact = 0
        for seed in range(5):
            initial = found.report.initial_subnets if warm else ()
            measured = searched(found.supernet, found.losses.__getitem__, seed, initial)
            missed = exhaustive - found.front(measured)
            print(f"warm {warm}, seed {seed}: {len(measured)} measured, {len(missed)} missed")
            assert len(measured) <= 30
            exact += not missed
        assert exact >= 4


@pytest.fixture(scope="module")
def stranger() -> Iterator[Stranger]:
    stranger = Stranger()
    yield stranger
    stranger.close()


def test_every_member_of_the_front_is_a_stock_adapter(
    found: Searched, stranger: Stranger, tmp_path: Path
):
    for number, subnet in enumerate(found.front(found.losses)):
        if not size(subnet):
            continue  # refused: tests/supernet/test_flexora.py
        (tmp_path / str(number)).mkdir()
        folder = export(found.supernet, subnet, "peft", tmp_path / str(number))
        theirs = stranger.load(folder, "peft", found.supernet)
        ours = evaluated_logits(found.supernet, subnet)
        assert torch.allclose(torch.tensor(theirs["logits"]), ours, atol=1e-5)
