"""A chosen subnet trained on by itself: its tensors, its metrics, and the model that it becomes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from elasticnas.api_schemas.conditions import Conditions
from elasticnas.api_schemas.finetuning import ChosenSubnet, FinetuneSettings
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.recipes import FINETUNE
from elasticnas.api_schemas.weights import SubnetCard
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.contracts.checkpoints import write_checkpoint as write_any
from elasticnas.supernet.contracts.recipes import (
    CHECKS,
    Trial,
    a_step_that_must_stop_saves_and_goes_on_to_the_same_result,
    result_of,
    the_result_is_a_super_network,
)
from elasticnas.supernet.extraction import extract, extract_adapters
from elasticnas.supernet.families import FAMILIES
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.measuring.measure import laps_of, measure
from elasticnas.supernet.measuring.stored_examples import read_examples
from elasticnas.supernet.methods.step import Chosen, TrainingData
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import TASKS, TEXT_CLASSIFICATION, TEXT_REGRESSION
from elasticnas.tasks.rows import Rows
from elasticnas.tasks.stored_rows import write_rows
from tests.supernet.causal import sqft
from tests.supernet.heterogeneous import with_operation, write_heterogeneous
from tests.supernet.languages import questions
from tests.supernet.questions import rows as asked_rows
from tests.supernet.questions import write_asked
from tests.supernet.stranger import Stranger
from tests.supernet.test_activation import tokenized
from tests.supernet.tiny import sentences, with_halves, write_checkpoint

SMALL = {"steps": 4, "batch_size": 8, "max_length": 16, "save_every": 2}
SUBNET = {"layer.0.attention.heads": 3, "layer.1.ffn.width": 24, "layer.2.lora.rank": 2}
NARROW = {"ffn of layer 0": 24, "heads of layer 1": 1, "left out": (0,)}


@dataclass(frozen=True)
class Rowed:
    """Rows to train on and rows to measure on, of one task."""

    data: TrainingData
    measured: Rows
    settings: dict[str, Any]


def opinions(seed: int = 5, count: int = 32) -> Rows:
    texts = sentences(count, seed=seed)
    return Rows({"text": texts}, np.array([int("good" in text) for text in texts]))


def classes() -> Rowed:
    data = TrainingData(opinions(), TEXT_CLASSIFICATION, 2)
    return Rowed(data, opinions(seed=9, count=40), {})


def values() -> Rowed:
    def lengths(seed: int) -> Rows:
        texts = sentences(32, seed=seed)
        return Rows({"text": texts}, np.array([float(len(text)) / 100 for text in texts]))

    return Rowed(TrainingData(lengths(5), TEXT_REGRESSION, 1), lengths(9), {})


def choices() -> Rowed:
    data = questions(24)
    return Rowed(data, questions(40).rows.select(range(24, 40)), {"prompt": "{text}"})


def spans() -> Rowed:
    def asked(seed: int) -> Rows:
        found = asked_rows(32, seed=seed, longest=20)
        texts = {name: [each[name] for each in found] for name in ("question", "context")}
        answers = [json.dumps(each["answers"]["text"]) for each in found]
        return Rows(texts, np.array(answers, dtype=object))

    task = TASKS["question-answering"]
    return Rowed(TrainingData(asked(5), task, 0), asked(6), {"stride": 8})


def trial(
    folder: Path, checkpoint: Path, rowed: Rowed, subnet: dict[str, Any], **settings: Any
) -> Trial:
    """The fine-tuning of a subnet of a checkpoint."""
    task = rowed.data.task
    folder.mkdir(exist_ok=True, parents=True)
    write_rows(rowed.measured, folder / "measured", keeps_columns=task.keeps_columns)
    card = SubnetCard(
        supernet_name="tiny",
        dataset_name="films",
        dataset_rows=len(rowed.measured),
        search_id="s1",
        number=3,
        metrics={},
        cost={"gflops": 0.25},
        max_length=24,
    )
    conditions = Conditions(
        supernet="s", dataset="d", task=task.name, settings=rowed.settings, max_length=24
    )
    said = ChosenSubnet(
        subnet=subnet, card=card, conditions=conditions, rows="r", rows_name="more films"
    )
    given = SMALL | {"task_settings": rowed.settings, "max_length": 24} | settings
    return Trial(
        FINETUNE,
        FinetuneSettings.model_validate(given),
        checkpoint,
        rowed.data,
        Chosen(said, checkpoint, folder / "measured"),
    )


def measured(asked: Trial, subnet: SubnetConfig, supernet: Supernet) -> dict[str, float]:
    """The metrics of a subnet where it is, as a search measures them."""
    assert asked.chosen is not None
    conditions = asked.chosen.said.conditions
    task = TASKS[conditions.task]
    examples = read_examples(asked.chosen.rows, load_tokenizer(supernet), supernet, conditions)
    settings = task.settings_type.model_validate(conditions.settings)
    laps = laps_of(examples, None, supernet, token_budget=4096)
    found = measure(supernet, subnet, laps, examples.labels, task, settings=settings).metrics
    assert found is not None
    return found


def test_stopped_after_every_unit_it_ends_as_an_undisturbed_one(tmp_path: Path):
    asked = trial(tmp_path / "given", write_checkpoint(tmp_path / "net"), classes(), SUBNET)
    a_step_that_must_stop_saves_and_goes_on_to_the_same_result(asked, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "check",
    [check for check in CHECKS if check is not the_result_is_a_super_network],
    ids=lambda check: check.__name__,
)
def test_it_keeps_the_contract_of_recipes(check: Callable[[Trial, Path], None], tmp_path: Path):
    asked = trial(tmp_path / "given", write_checkpoint(tmp_path / "net"), classes(), SUBNET)
    check(asked, tmp_path)


def test_the_metrics_before_are_the_searchs_and_those_after_the_models(tmp_path: Path):
    checkpoint = write_checkpoint(tmp_path / "net")
    asked = trial(tmp_path / "given", checkpoint, classes(), SUBNET, steps=40, learning_rate=2e-3)
    left = result_of(asked, tmp_path / "run")
    found = json.loads((left / "metrics.json").read_text())
    supernet = read_supernet(checkpoint)
    subnet = supernet.space.subnet(SUBNET)
    assert found["before"] == measured(asked, subnet, supernet)
    assert found["after"]["accuracy"] > found["before"]["accuracy"] + 0.1
    card = (left / "README.md").read_text()
    after, before = (f"{found[when]['accuracy']:.4f}" for when in ("after", "before"))
    assert f"| accuracy | {after} | {before} |" in card
    assert "32 rows of *more films*" in card


@pytest.mark.slow
def test_zeros_of_a_sparse_weight_stay_unless_told_otherwise(tmp_path: Path):
    checkpoint = write_checkpoint(tmp_path / "net", adapted=())
    file = checkpoint / "base" / "model.safetensors"
    name = "bert.encoder.layer.0.intermediate.dense.weight"
    tensors = load_file(file)
    tensors[name][::2] = 0
    save_file(tensors, file, metadata={"format": "pt"})
    subnet = {"layer.1.ffn.width": 24}
    zeros = {}
    for keep in (True, False):
        asked = trial(tmp_path / str(keep), checkpoint, classes(), subnet, keep_zeros=keep)
        left = load_file(result_of(asked, tmp_path / f"run-{keep}") / "model.safetensors")[name]
        zeros[keep] = int((left == 0).sum())
        assert not torch.equal(left, tensors[name])
    assert zeros == {True: tensors[name].numel() // 2, False: 0}


def test_adapters_alone_leave_all_other_weights_as_they_were(tmp_path: Path):
    checkpoint = write_checkpoint(tmp_path / "net")
    asked = trial(tmp_path / "given", checkpoint, classes(), SUBNET, trained="adapters")
    left = load_file(result_of(asked, tmp_path / "run") / "model.safetensors")
    supernet = read_supernet(checkpoint)
    before = dict(extract(supernet, supernet.space.subnet(SUBNET)).supernet.model.state_dict())
    changed = {name for name in left if not torch.equal(left[name], before[name])}
    head = {"classifier.weight", "classifier.bias"}
    adapted = {f"{module}.weight" for module in supernet.adapters}
    assert changed == head | adapted


def test_adapters_of_a_super_network_without_any_are_refused(tmp_path: Path):
    checkpoint = write_checkpoint(tmp_path / "net", adapted=())
    asked = trial(tmp_path / "given", checkpoint, classes(), {}, trained="adapters")
    with pytest.raises(InputError, match="has no adapters"):
        result_of(asked, tmp_path / "run")


def test_all_weights_are_trained_in_float32_alone():
    with pytest.raises(ValueError, match="all weights are trained in float32"):
        FinetuneSettings(precision="bfloat16")
    assert FinetuneSettings(precision="bfloat16", trained="adapters").trained == "adapters"


@pytest.mark.parametrize("taken", [extract, extract_adapters])
@pytest.mark.parametrize("model_type", ["bert", "roberta", "distilbert"])
def test_what_is_extracted_computes_what_the_subnet_does(taken, model_type: str, tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path, model_type, depth=True))
    subnet = supernet.space.subnet({**SUBNET, "depth": 2})
    inputs = tokenized(supernet)
    own = taken(supernet, subnet)
    with torch.inference_mode():
        expected = activate(supernet, subnet).logits(inputs)
        for tensor in supernet.adapters.values():
            tensor.b.zero_()  # its own are not those
        supernet.model.get_parameter(f"{supernet.task_head.logits}.weight").zero_()
        found = activate(own.supernet, subnet).logits(inputs)
    torch.testing.assert_close(found, expected)


def test_halves_of_layers_stay_left_out(tmp_path: Path):
    supernet = read_supernet(with_halves(tmp_path))
    subnet = supernet.space.subnet({"out": (0, "1.ffn"), "heads": 2})
    own = extract(supernet, subnet)
    assert not any(name.startswith("bert.encoder.layer.0.") for name in own.tensors)
    inputs = tokenized(supernet)
    with torch.inference_mode():
        expected = activate(supernet, subnet).logits(inputs)
        torch.testing.assert_close(activate(own.supernet, subnet).logits(inputs), expected)


def _bert(folder: Path) -> Path:
    return write_checkpoint(folder, labels=1)


def ending(checkpoint: Path) -> Path:
    """A checkpoint whose tokenizer has a last token of a text, which answers end with."""
    file = checkpoint / "base" / "tokenizer_config.json"
    config = json.loads(file.read_text()) | {"bos_token": "[CLS]", "eos_token": "[SEP]"}
    file.write_text(json.dumps(config))
    return checkpoint


def _llama(folder: Path) -> Path:
    return ending(write_any(folder, FAMILIES["llama"]))


def _tied(folder: Path) -> Path:
    tied = write_any(folder, FAMILIES["llama"], tie_word_embeddings=True, adapted=False)
    return ending(tied)


def _asked(folder: Path) -> Path:
    return write_asked(folder, FAMILIES["bert"])


CASES = {
    "regression": (_bert, values, SUBNET),
    "multiple choice": (_llama, choices, NARROW),
    "tied embeddings": (_tied, choices, NARROW),
    "spans": (_asked, spans, NARROW),
}
ADAPTED = [case for case in CASES if case != "tied embeddings"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "trained"),
    [*((case, "all") for case in CASES), *((case, "adapters") for case in ADAPTED)],
)
def test_other_tasks_end_with_a_model_and_go_on_to_the_same_result(
    case: str, trained: str, tmp_path: Path
):
    write, rowed, subnet = CASES[case]
    checkpoint = write(tmp_path / "net")
    asked = trial(tmp_path / "given", checkpoint, rowed(), subnet, trained=trained)
    a_step_that_must_stop_saves_and_goes_on_to_the_same_result(asked, tmp_path)


@pytest.mark.slow
def test_masked_adapters_leave_the_zeros_of_a_sparse_language_model(tmp_path: Path):
    checkpoint = ending(sqft(tmp_path / "net", masked=True))
    supernet = read_supernet(checkpoint)
    subnet = {each.name: each.choices[1] for each in supernet.space.dimensions}
    asked = trial(tmp_path / "given", checkpoint, choices(), subnet, trained="adapters")
    left = load_file(result_of(asked, tmp_path / "run") / "model.safetensors")
    for module in supernet.adapters:
        name = f"{module}.weight"
        assert torch.equal(left[name] == 0, supernet.model.get_parameter(name) == 0), name


@pytest.mark.slow
def test_layers_of_other_operations_are_trained_on(tmp_path: Path):
    checkpoint = write_heterogeneous(tmp_path / "net")
    supernet = read_supernet(checkpoint)
    subnet = dict(with_operation(supernet, "dct").items())
    asked = trial(tmp_path / "given", checkpoint, classes(), subnet)
    a_step_that_must_stop_saves_and_goes_on_to_the_same_result(asked, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["bert", "llama"])
def test_the_model_loads_without_this_project_and_gives_the_same_logits(
    model_type: str, tmp_path: Path
):
    write, rowed, subnet = (
        (write_checkpoint, classes, SUBNET) if model_type == "bert" else CASES["multiple choice"]
    )
    asked = trial(tmp_path / "given", write(tmp_path / "net"), rowed(), subnet)
    left = result_of(asked, tmp_path / "run")
    supernet = read_supernet(asked.base)
    chosen = supernet.space.subnet(subnet)
    own = extract(supernet, chosen)
    learnt = load_file(tmp_path / "run" / "train" / "output" / "tensors.safetensors")
    with torch.no_grad():
        for name, tensor in learnt.items():
            own.tensors[name].copy_(tensor)
    texts = sentences(6) if model_type == "bert" else ["w5 w6", "w7 w8 w9"]
    stranger = Stranger()
    found = stranger.load(left, "transformers-with-code", supernet, texts)["logits"]
    stranger.close()
    tokenizer = load_tokenizer(supernet)
    for text, logits in zip(texts, found, strict=True):
        inputs = {"input_ids": tokenizer(text, return_tensors="pt")["input_ids"]}
        with torch.inference_mode():
            expected = activate(own.supernet, chosen).logits(inputs)[0]
        torch.testing.assert_close(torch.tensor(logits), expected, rtol=1e-3, atol=1e-3)
