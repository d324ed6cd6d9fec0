"""Which adapters are on, as a search: all 64 subnets of a real MiniLM whose layers can be off.

``pytest -m slow -s`` prints the front.
"""

from __future__ import annotations

import itertools
import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.adapted_layers import CPU
from benchmarks.layer_choices import EVALUATIONS, searched
from elasticnas.api_schemas.flexora_training import FlexoraSettings
from elasticnas.api_schemas.problems import InputError
from elasticnas.search.cost import cost_report
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.measuring.examples import LabelledTexts, tokenize
from elasticnas.supernet.methods.local import run_recipe
from elasticnas.supernet.methods.step import TrainingData
from elasticnas.supernet.supernet import Supernet
from elasticnas.supernet.training.rows import LabelledRows
from elasticnas.tasks import TEXT_CLASSIFICATION
from elasticnas.tasks.rows import Rows
from tests.supernet.stranger import Stranger
from tests.supernet.test_export import export
from tests.supernet.tiny import sentences

pytestmark = pytest.mark.slow

SETTINGS = FlexoraSettings(
    finetuned="all",
    sampling="random",
    repeats=1,
    select_steps=2,
    steps=120,
    batch_size=16,
    max_length=32,
)
TRAINED_ON, MEASURED_ON = 800, 200


@dataclass(frozen=True)
class Switches:
    """A super-network whose layers' adapters are on or off, and the loss of each subnet."""

    supernet: Supernet
    losses: dict[SubnetConfig, float]

    def cost(self, subnet: SubnetConfig) -> int:
        """Its trainable parameters."""
        costs = cost_model(self.supernet)
        return cost_report(costs, subnet, self.supernet.reference_length).trainable_params

    @property
    def front(self) -> dict[int, float]:
        """The least loss at each cost that is paid for by a lower one than any cheaper subnet's."""
        best: dict[int, float] = {}
        for subnet, loss in sorted(self.losses.items(), key=lambda each: each[1]):
            cost = self.cost(subnet)
            if all(cost < cheaper for cheaper in best):
                best[cost] = loss
        return best

    @property
    def members(self) -> list[SubnetConfig]:
        """The subnets of the front."""
        on_front = self.front.items()
        return [s for s, loss in self.losses.items() if (self.cost(s), loss) in on_front]


@pytest.fixture(scope="module")
def switches(minilm: Path, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Switches:
    """MiniLM, trained on phrases of SST-2 with adapters off now and then, measured on others."""
    lines = map(json.loads, (shared_data / "sst2" / "train.jsonl").read_text().splitlines())
    drawn = random.Random(0).sample([*lines], TRAINED_ON + MEASURED_ON)
    rows = Rows(
        {"text": [line["sentence"] for line in drawn]}, np.array([line["label"] for line in drawn])
    )
    taught = TrainingData(rows.select(range(TRAINED_ON)), TEXT_CLASSIFICATION, 2)
    folder = tmp_path_factory.mktemp("switches") / "net"
    supernet = read_supernet(run_recipe("flexora", minilm, taught, folder, SETTINGS))
    unseen = rows.select(range(TRAINED_ON, len(drawn)))
    examples = tokenize(
        LabelledTexts.of(unseen),
        load_tokenizer(supernet),
        supernet.family,
        task=TEXT_CLASSIFICATION,
        max_length=32,
    )
    measured, losses = LabelledRows(examples, TEXT_CLASSIFICATION), {}
    choices = [dimension.choices for dimension in supernet.space.dimensions]
    names = [dimension.name for dimension in supernet.space.dimensions]
    for chosen in itertools.product(*choices):
        subnet = supernet.space.subnet(dict(zip(names, chosen, strict=True)))
        with torch.inference_mode():
            active = activate(supernet, subnet)
            losses[subnet] = float(measured.loss(active, range(MEASURED_ON), CPU))
    assert len(losses) == 64
    return Switches(supernet, losses)


@pytest.mark.parametrize("seed", range(5))
def test_pareto_finds_the_front_of_all_64_within_30_evaluations(switches: Switches, seed: int):
    found = searched(switches.supernet, lambda subnet: switches.losses[subnet], seed)
    assert len(found) <= EVALUATIONS
    missed = set(switches.front.items()) - set(Switches(switches.supernet, found).front.items())
    print(f"seed {seed}: {len(switches.front)} on the front, {len(missed)} missed: {missed}")
    assert not missed


def test_stock_peft_gives_the_logits_of_each_member_of_the_front(
    switches: Switches, tmp_path: Path
):
    supernet, texts = switches.supernet, sentences(6)
    encoded = load_tokenizer(supernet)(texts, padding=True, return_tensors="pt")
    stranger = Stranger()
    on = [each for each in switches.members if any(each.values())]
    assert len(on) > 1
    for number, subnet in enumerate(on):
        folder = export(supernet, subnet, "peft", tmp_path / str(number))
        config = json.loads((folder / "adapter_config.json").read_text())
        kept = {each.layer for each in supernet.space.dimensions if subnet[each.name]}
        named = re.compile("|".join(rf"(.*\.)?{re.escape(m)}" for m in config["target_modules"]))
        targets = [name for name, _ in supernet.model.named_modules() if named.fullmatch(name)]
        assert {supernet.family.layer_of(module) for module in targets} == kept
        assert not config.get("layers_to_transform")
        theirs = stranger.load(folder, "peft", supernet, texts)["logits"]
        with torch.inference_mode():
            ours = activate(supernet, subnet).logits(dict(encoded))
        torch.testing.assert_close(torch.tensor(theirs), ours, atol=1e-5, rtol=0)
    stranger.close()
    with pytest.raises(InputError, match="keeps no adapter"):
        export(supernet, supernet.space.minimal, "peft", tmp_path / "none")
