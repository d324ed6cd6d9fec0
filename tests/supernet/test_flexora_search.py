"""Layers on and off as a search of an ordinary super-network, on a real MiniLM and SST-2."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from benchmarks.layer_selection import scored, searched
from elasticnas.api_schemas.flexora_training import FlexoraSettings
from elasticnas.api_schemas.layer_selection import SelectionReport
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.measuring.examples import LabelledTexts, tokenize
from elasticnas.supernet.methods.flexora import finetune, read_report, select
from elasticnas.supernet.methods.step import StepRun
from elasticnas.supernet.supernet import Supernet
from elasticnas.supernet.training.rows import LabelledRows
from elasticnas.tasks import TEXT_CLASSIFICATION
from tests.supernet.gated_minilm import phrases, training_data
from tests.supernet.stranger import Stranger
from tests.supernet.test_export import evaluated_logits, export

pytestmark = pytest.mark.slow

SETTINGS = FlexoraSettings.model_validate(
    {
        **{"finetuned": "all", "sampling": "random", "repeats": 1, "select_steps": 45},
        **{"outer_share": 0.4, "steps": 150, "batch_size": 16, "max_length": 32},
    }
)
MEASURED_ROWS = 300


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


def step(source: Path, output: Path, rows: list[dict[str, object]]) -> StepRun:
    output.mkdir()
    return StepRun(
        settings=SETTINGS,
        source=source,
        data=training_data(rows),
        output=output,
        saved=None,
        device=torch.device("cpu"),
        tell=lambda _: None,
        keep=lambda _, __: None,
        must_stop=lambda: False,
    )


@pytest.fixture(scope="module")
def found(shared_data: Path, minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    folder = tmp_path_factory.mktemp("search")
    rows = phrases(shared_data, 2300, seed=11)
    selection = step(minilm, folder / "selection", rows[:2000])
    select(selection)
    tuning = step(selection.output, folder / "net", rows[:2000])
    finetune(tuning)
    supernet = read_supernet(tuning.output)
    unseen = training_data(rows[2000:])
    examples = tokenize(
        LabelledTexts.of(unseen.rows),
        load_tokenizer(supernet),
        supernet.family,
        task=TEXT_CLASSIFICATION,
        max_length=32,
    )
    texts = LabelledRows(examples, TEXT_CLASSIFICATION)
    losses = {}
    with torch.inference_mode():
        for ranks in itertools.product((8, 0), repeat=6):
            names = [each.name for each in supernet.space.dimensions]
            subnet = supernet.space.subnet(dict(zip(names, ranks, strict=True)))
            losses[subnet] = scored(supernet, texts, range(MEASURED_ROWS), subnet).loss
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
