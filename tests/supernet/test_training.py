from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from api_schemas.metrics import Task
from api_schemas.problems import InputError
from supernet.activation import activate
from supernet.checkpoint.reader import load_tokenizer, read_supernet
from supernet.evaluation import evaluate
from supernet.examples import LabelledTexts, tokenize
from supernet.supernet import Supernet
from supernet.training import STATE_FILE, TrainingSettings, TrainingStep, train
from tests.supernet.test_activation import ARCHITECTURES
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


def rows(count: int = 200) -> LabelledTexts:
    """Is there a "good" in the sentence? Something that a tiny model can learn."""
    texts = sentences(count, seed=5)
    return LabelledTexts(texts, None, [int("good" in text) for text in texts])


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return dict(read_supernet(folder).tensors)


def accuracy(supernet: Supernet, which: str) -> float:
    examples = tokenize(
        rows(),
        load_tokenizer(supernet),
        supernet.architecture,
        task=Task.CLASSIFICATION,
        max_length=24,
    )
    subnet = getattr(supernet.space, which)
    batches = examples.batches(2000)
    return evaluate(supernet, subnet, batches, examples.labels, Task.CLASSIFICATION)["accuracy"]


def fine_tune(base: Path, output: Path, settings=SETTINGS, **options) -> Path:
    return train(base, rows(), output, settings, task=Task.CLASSIFICATION, labels=2, **options)


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_training_writes_a_checkpoint_that_reads_back(tmp_path: Path, model_type):
    base = tmp_path / "encoder"
    tiny_model(model_type).save_pretrained(base)
    write_tokenizer(base)
    output = fine_tune(base, tmp_path / "out", replace(SETTINGS, steps=3))
    supernet = read_supernet(output)
    assert supernet.space.size == 3**3 * 3**3 * 4**3
    assert supernet.reference_length == 24
    assert not (output / STATE_FILE).exists()


def test_every_subnet_learns_and_the_encoder_stays_as_it_was(base: Path, tmp_path: Path):
    losses: list[TrainingStep] = []
    output = fine_tune(base, tmp_path / "out", replace(SETTINGS, steps=150), on_step=losses.append)
    assert [step.step for step in losses] == list(range(1, 151))
    assert sum(s.loss for s in losses[-20:]) < 0.7 * sum(s.loss for s in losses[:20])
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


def test_a_training_that_was_killed_resumes_to_the_same_result(base: Path, tmp_path: Path):
    class KilledError(Exception):
        pass

    def kill(step: TrainingStep) -> None:
        if step.step == 27:
            raise KilledError

    with pytest.raises(KilledError):
        fine_tune(base, tmp_path / "out", on_step=kill)
    resumed: list[TrainingStep] = []
    fine_tune(base, tmp_path / "out", resume=True, on_step=resumed.append)
    assert resumed[0].step == 21
    undisturbed = tensors(fine_tune(base, tmp_path / "whole"))
    for name, tensor in tensors(tmp_path / "out").items():
        assert torch.equal(tensor, undisturbed[name])


def test_resuming_with_other_settings_is_refused(base: Path, tmp_path: Path):
    def kill(step: TrainingStep) -> None:
        if step.step == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fine_tune(base, tmp_path / "out", on_step=kill)
    with pytest.raises(InputError, match="learning_rate"):
        fine_tune(base, tmp_path / "out", replace(SETTINGS, learning_rate=0.5), resume=True)


def test_an_output_folder_in_the_way_is_refused(base: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="output"):
        fine_tune(base, tmp_path / "out")


def agreement(supernet: Supernet) -> float:
    """How alike the maximal and the minimal subnet predict: mean overlap of their probabilities."""
    examples = tokenize(
        rows(),
        load_tokenizer(supernet),
        supernet.architecture,
        task=Task.CLASSIFICATION,
        max_length=24,
    )
    batch = examples.batch(range(len(examples)))
    with torch.inference_mode():
        largest, smallest = (
            activate(supernet, subnet).logits(batch.inputs).softmax(-1)
            for subnet in (supernet.space.maximal, supernet.space.minimal)
        )
    return float(torch.minimum(largest, smallest).sum(-1).mean())


def test_the_smaller_subnets_of_a_sandwich_learn_from_the_maximal_one(base: Path, tmp_path: Path):
    settings = replace(SETTINGS, steps=25, sandwich=True)
    distilled = read_supernet(fine_tune(base, tmp_path / "a", settings))
    on_labels = replace(settings, distillation=False)
    apart = read_supernet(fine_tune(base, tmp_path / "b", on_labels))
    assert agreement(distilled) > agreement(apart)


def test_a_regression_is_trained_on_one_output(base: Path, tmp_path: Path):
    scores = [float(len(text.split())) / 20 for text in rows().texts]
    output = train(
        base,
        LabelledTexts(rows().texts, None, scores),
        tmp_path / "out",
        replace(SETTINGS, steps=5, sandwich=True),
        task=Task.REGRESSION,
        labels=1,
    )
    assert read_supernet(output).num_labels == 1


def test_label_names_travel_with_the_checkpoint(base: Path, tmp_path: Path):
    output = fine_tune(
        base, tmp_path / "out", replace(SETTINGS, steps=2), label_names=("other", "good")
    )
    supernet = read_supernet(output)
    assert supernet.label_names == ("other", "good")
    assert supernet.config.id2label == {0: "other", 1: "good"}


def test_rows_longer_than_the_models_positions_are_refused(base: Path, tmp_path: Path):
    long = LabelledTexts(["good " * 99] * 4, None, [0, 1, 0, 1])
    with pytest.raises(InputError, match=r"max_length.*90 tokens.*64 positions.*at most 64"):
        train(
            base,
            long,
            tmp_path / "out",
            replace(SETTINGS, max_length=90),
            task=Task.CLASSIFICATION,
            labels=2,
        )


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
