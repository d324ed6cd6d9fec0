from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from elasticnas.api_schemas.jobs import StepProgress
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.training import Sampling, TrainingSettings
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.checkpoint.tokenizer import read_tokenizer
from elasticnas.supernet.families.bert import BERT
from elasticnas.supernet.measuring.examples import LabelledTexts, tokenize
from elasticnas.supernet.methods.local import run_recipe
from elasticnas.supernet.methods.step import TrainingData
from elasticnas.supernet.supernet import Supernet
from elasticnas.supernet.training.loop import batch_rows
from elasticnas.supernet.training.state import STATE_FILE
from elasticnas.tasks import TEXT_CLASSIFICATION, TEXT_REGRESSION
from elasticnas.tasks.rows import Rows
from tests.supernet.measured import evaluate
from tests.supernet.test_activation import FAMILY_NAMES
from tests.supernet.tiny import sentences, tiny_model, write_tokenizer

SETTINGS = TrainingSettings(
    steps=40, batch_size=16, learning_rate=0.02, max_length=24, lora_rank=4, save_every=10
)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "encoder"
    tiny_model("bert").save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def rows(count: int = 200) -> Rows:
    """Is there a "good" in the sentence? Something that a tiny model can learn."""
    texts = sentences(count, seed=5)
    return Rows({"text": texts}, np.array([int("good" in text) for text in texts]))


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return dict(read_supernet(folder).tensors)


def accuracy(supernet: Supernet, which: str) -> float:
    examples = tokenize(
        LabelledTexts.of(rows()),
        load_tokenizer(supernet),
        supernet.family,
        task=TEXT_CLASSIFICATION,
        max_length=24,
    )
    subnet = getattr(supernet.space, which)
    batches = examples.batches(2000)
    return evaluate(supernet, subnet, batches, examples.labels, TEXT_CLASSIFICATION)["accuracy"]


def replace(settings: TrainingSettings, **changes) -> TrainingSettings:
    return settings.model_copy(update=changes)


def fine_tune(base: Path, output: Path, settings=SETTINGS, data=None, **options) -> Path:
    data = data or TrainingData(rows(), TEXT_CLASSIFICATION, 2)
    return run_recipe("lonas", base, data, output, settings, **options)


@pytest.mark.parametrize("model_type", FAMILY_NAMES)
def test_training_writes_a_checkpoint_that_reads_back(tmp_path: Path, model_type):
    base = tmp_path / "encoder"
    tiny_model(model_type).save_pretrained(base)
    write_tokenizer(base)
    output = fine_tune(base, tmp_path / "out", replace(SETTINGS, steps=3))
    supernet = read_supernet(output)
    assert supernet.space.size == 3**3 * 3**3 * 4**3
    assert supernet.reference_length == 24
    assert not list(output.rglob(STATE_FILE))
    assert {path.name for path in output.iterdir()} == {"base", "adapter", "search_space.json"}


def test_every_subnet_learns_and_the_encoder_stays_as_it_was(base: Path, tmp_path: Path):
    losses: list[StepProgress] = []
    settings = replace(SETTINGS, steps=150)
    output = fine_tune(base, tmp_path / "out", settings, on_progress=losses.append)
    assert [step.done for step in losses] == list(range(1, 151))
    first, last = (sum(s.scalars["loss"] for s in part) for part in (losses[:20], losses[-20:]))
    assert last < 0.7 * first
    supernet = read_supernet(output)
    majority = max(sum(rows().labels), 200 - sum(rows().labels)) / 200
    assert accuracy(supernet, "maximal") > majority + 0.1
    assert accuracy(supernet, "heuristic") > majority + 0.05
    encoder = tiny_model("bert").state_dict()
    for name, tensor in supernet.model.state_dict().items():
        if not name.startswith("classifier"):
            assert torch.equal(tensor, encoder[name])


def test_training_is_deterministic_for_a_seed(base: Path, tmp_path: Path):
    first = tensors(fine_tune(base, tmp_path / "a", replace(SETTINGS, steps=5)))
    again = tensors(fine_tune(base, tmp_path / "b", replace(SETTINGS, steps=5)))
    other = tensors(fine_tune(base, tmp_path / "c", replace(SETTINGS, steps=5, seed=1)))
    assert all(torch.equal(first[name], tensor) for name, tensor in again.items())
    assert any(not torch.equal(first[name], tensor) for name, tensor in other.items())


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        replace(SETTINGS, sampling=Sampling.ALTERNATE, dropout=False, group_by_length=True),
    ],
)
def test_a_training_that_was_killed_resumes_to_the_same_result(
    base: Path, tmp_path: Path, settings: TrainingSettings
):
    class KilledError(Exception):
        pass

    def kill(step: StepProgress) -> None:
        if step.done == 27:
            raise KilledError

    with pytest.raises(KilledError):
        fine_tune(base, tmp_path / "out", settings, on_progress=kill)
    resumed: list[StepProgress] = []
    fine_tune(base, tmp_path / "out", settings, resume=True, on_progress=resumed.append)
    assert resumed[0].done == 21
    undisturbed = tensors(fine_tune(base, tmp_path / "whole", settings))
    for name, tensor in tensors(tmp_path / "out").items():
        assert torch.equal(tensor, undisturbed[name])


def test_resuming_with_other_settings_is_refused(base: Path, tmp_path: Path):
    def kill(step: StepProgress) -> None:
        if step.done == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fine_tune(base, tmp_path / "out", on_progress=kill)
    with pytest.raises(InputError, match="learning_rate"):
        fine_tune(base, tmp_path / "out", replace(SETTINGS, learning_rate=0.5), resume=True)


def test_an_output_folder_in_the_way_is_refused(base: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="output"):
        fine_tune(base, tmp_path / "out")


def test_alternation_trains_the_maximal_subnet_at_every_other_step(base: Path, tmp_path: Path):
    """Rank 4 has what subnets of rank 1 and 2 leave alone; two steps train whichever was drawn."""

    def last_ranks(sampling: Sampling, seed: int) -> torch.Tensor:
        settings = replace(SETTINGS, steps=2, sampling=sampling, seed=seed)
        output = fine_tune(base, tmp_path / f"{sampling.value}-{seed}", settings)
        adapters = read_supernet(output).adapters.values()
        return torch.stack([adapter.b[:, -1].abs().sum() for adapter in adapters])

    assert all((last_ranks(Sampling.ALTERNATE, seed) > 0).all() for seed in range(3))
    assert any((last_ranks(Sampling.RANDOM, seed) == 0).any() for seed in range(3))


@pytest.mark.parametrize("model_type", FAMILY_NAMES)
def test_training_without_dropout_is_training_with_a_dropout_of_zero(tmp_path: Path, model_type):
    base = tmp_path / "encoder"
    model = tiny_model(model_type)
    shares = {name: 0.0 for name in model.config.to_dict() if "dropout" in name}
    assert len(shares) > 1
    model.config.update(shares)
    model.save_pretrained(base)
    write_tokenizer(base)
    settings = replace(SETTINGS, steps=3, learning_rate=1e-3)
    with_it = tensors(fine_tune(base, tmp_path / "a", settings))
    without = tensors(fine_tune(base, tmp_path / "b", replace(settings, dropout=False)))
    for name, tensor in with_it.items():
        assert torch.allclose(without[name], tensor, atol=1e-4)


def test_batches_grouped_by_length_have_every_row_once_an_epoch_and_less_padding(
    base: Path,
):
    examples = tokenize(
        LabelledTexts.of(rows()),
        read_tokenizer(base),
        BERT,
        task=TEXT_CLASSIFICATION,
        max_length=24,
    )
    lengths = [len(tokens) for tokens in examples.token_ids]

    def epoch(settings: TrainingSettings, number: int) -> list[list[int]]:
        steps = range(number * 12, number * 12 + 12)  # 200 rows are 12 batches of 16
        return [batch_rows(lengths, settings, step) for step in steps]

    def padding(batches: list[list[int]]) -> int:
        return sum(
            len(b) * max(lengths[r] for r in b) - sum(lengths[r] for r in b) for b in batches
        )

    grouped = replace(SETTINGS, group_by_length=True)
    found = [epoch(grouped, number) for number in (0, 1)]
    for batches in found:
        taken = [row for batch in batches for row in batch]
        assert len(taken) == len(set(taken)) == 192
        assert [len(batch) for batch in batches] == [16] * 12
    assert found[0] != found[1]
    longest = [max(lengths[row] for row in batch) for batch in found[0]]
    assert longest != sorted(longest)
    assert padding(found[0]) < padding(epoch(SETTINGS, 0)) / 3


def test_a_head_is_not_trained_in_bfloat16(base: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"precision.*bfloat16"):
        fine_tune(base, tmp_path / "out", replace(SETTINGS, precision=Precision.BFLOAT16))


def test_a_regression_is_trained_on_one_output(base: Path, tmp_path: Path):
    scores = [float(len(text.split())) / 20 for text in rows().texts["text"]]
    data = TrainingData(Rows(rows().texts, np.array(scores)), TEXT_REGRESSION, 1)
    settings = replace(SETTINGS, steps=5, sampling=Sampling.ALTERNATE)
    output = fine_tune(base, tmp_path / "out", settings, data)
    assert read_supernet(output).num_labels == 1


def test_label_names_travel_with_the_checkpoint(base: Path, tmp_path: Path):
    data = TrainingData(rows(), TEXT_CLASSIFICATION, 2, ("other", "good"))
    output = fine_tune(base, tmp_path / "out", replace(SETTINGS, steps=2), data)
    supernet = read_supernet(output)
    assert supernet.label_names == ("other", "good")
    assert supernet.config.id2label == {0: "other", 1: "good"}


def test_rows_longer_than_the_models_positions_are_refused(base: Path, tmp_path: Path):
    long = Rows({"text": ["good " * 99] * 4}, np.array([0, 1, 0, 1]))
    data = TrainingData(long, TEXT_CLASSIFICATION, 2)
    with pytest.raises(InputError, match=r"max_length.*90 tokens.*64 positions.*at most 64"):
        fine_tune(base, tmp_path / "out", replace(SETTINGS, max_length=90), data)


def test_a_base_of_another_task_and_other_classes_leaves_no_trace_in_the_checkpoint(
    base: Path, tmp_path: Path
):
    folder = Path(shutil.copytree(base, tmp_path / "base"))
    config = json.loads((folder / "config.json").read_text())
    config |= {"problem_type": "multi_label_classification", "id2label": {"0": "x", "1": "y"}}
    (folder / "config.json").write_text(json.dumps(config))
    supernet = read_supernet(fine_tune(folder, tmp_path / "out", replace(SETTINGS, steps=1)))
    assert supernet.config.problem_type == "single_label_classification"
    assert supernet.label_names is None
