"""A subnet in lm-eval: as its own model, and as the exported folder that lm-eval reads itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("lm_eval", reason="lm-eval is not installed: elasticnas[lm]")

from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from safetensors.torch import load_file, save_file

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.weights import SubnetCard
from elasticnas.supernet.checkpoint.reader import load_tokenizer
from elasticnas.supernet.export.transformers_folder import write_transformers_folder
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.measuring.lm_eval_model import SubnetLM
from elasticnas.supernet.measuring.measure import laps_of, measure, predict
from elasticnas.supernet.measuring.probes import PROBES
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import MULTIPLE_CHOICE
from elasticnas.tasks.multiple_choice import MultipleChoiceSettings
from elasticnas.tasks.rows import Rows
from tests.supernet.published import BASES, published

LENGTH = 512
CARD = SubnetCard(
    supernet_name="published",
    dataset_name="arc_easy",
    dataset_rows=16,
    search_id="s",
    number=1,
    metrics={},
    cost={},
    max_length=LENGTH,
)


@pytest.fixture(scope="module")
def supernet(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Supernet:
    """Of a base in float32, as an export's merged weights are rounded to the base's dtype."""
    data, name = tmp_path_factory.mktemp("data"), "sqft-llama-sparsepeft-textkind"
    (data / name).symlink_to(shared_data / name)
    base = data / BASES[name]
    shutil.copytree(shared_data / BASES[name], base)
    tensors = load_file(base / "model.safetensors")
    save_file({name: each.float() for name, each in tensors.items()}, base / "model.safetensors")
    return published(data, name, tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def exported(supernet: Supernet, tmp_path_factory: pytest.TempPathFactory) -> HFLM:
    folder = tmp_path_factory.mktemp("exported")
    write_transformers_folder(supernet, supernet.space.heuristic, CARD, folder)
    return HFLM(pretrained=str(folder), dtype="float32", device="cpu", batch_size=4)


@pytest.fixture(scope="module")
def sliced(supernet: Supernet) -> SubnetLM:
    return SubnetLM(supernet, supernet.space.heuristic)


@pytest.fixture(scope="module")
def arc_easy(shared_data: Path) -> list[dict[str, Any]]:
    text = (shared_data / "arc_easy" / "validation.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()[:16]]


def asked(*args: Any) -> SimpleNamespace:
    """A request as lm-eval's tasks make it."""
    return SimpleNamespace(args=args)


def test_log_likelihoods_of_an_export_are_the_evaluators(
    supernet: Supernet, exported: HFLM, sliced: SubnetLM, arc_easy: list[dict[str, Any]]
) -> None:
    requests = [
        asked(f"Question: {row['sentence1']}\nAnswer:", f" {choice}")
        for row in arc_easy
        for choice in row["choices"]
    ]
    theirs = exported.loglikelihood(requests, disable_tqdm=True)
    settings = MultipleChoiceSettings(prompt="Question: {sentence1}\nAnswer:")
    rows = Rows(
        {"sentence1": [row["sentence1"] for row in arc_easy]},
        np.array([row["label"] for row in arc_easy]),
        [row["choices"] for row in arc_easy],
    )
    probe = PROBES[MULTIPLE_CHOICE.probe]
    made = probe.prepare(
        rows, MULTIPLE_CHOICE, settings, load_tokenizer(supernet), supernet, LENGTH
    )
    with torch.inference_mode():
        active = activate(supernet, supernet.space.heuristic)
        raw = predict(active, made.batches(1000), rows=len(arc_easy), run=probe.run)
    evaluated = [
        float(raw[row, place])
        for row, each in enumerate(arc_easy)
        for place in range(len(each["choices"]))
    ]
    assert evaluated == pytest.approx([score for score, _ in theirs], abs=1e-4)
    ours = sliced.loglikelihood(requests, disable_tqdm=True)
    assert [score for score, _ in ours] == pytest.approx(evaluated, abs=1e-4)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]


def test_greedy_is_said_of_what_would_be_written(exported: HFLM, sliced: SubnetLM) -> None:
    context = "Text: An airport has only 2 planes\nKind:"
    (text,) = sliced.generate_until([asked(context, {"max_gen_toks": 4})])
    requests = [asked(context, text), asked(context, " no such kind"), asked("", "Two")]
    theirs = exported.loglikelihood(requests, disable_tqdm=True)
    ours = sliced.loglikelihood(requests, disable_tqdm=True)
    assert (
        [greedy for _, greedy in ours] == [greedy for _, greedy in theirs] == [True, False, False]
    )
    assert [s for s, _ in ours] == pytest.approx([s for s, _ in theirs], abs=1e-4)


def test_texts_and_rolling_likelihoods_are_the_same(
    exported: HFLM, sliced: SubnetLM, arc_easy: list[dict[str, Any]]
) -> None:
    said = {"until": ["\n"], "max_gen_toks": 12, "do_sample": False}
    requests = [asked(f"Text: {row['sentence1']}\nKind:", dict(said)) for row in arc_easy]
    written = exported.generate_until(requests, disable_tqdm=True)
    assert sliced.generate_until(requests) == written
    assert len(set(written)) > 1
    whole = [asked(" ".join(row["sentence1"] for row in arc_easy) * 3)]
    theirs = exported.loglikelihood_rolling(whole, disable_tqdm=True)
    assert sliced.loglikelihood_rolling(whole) == pytest.approx(theirs, abs=1e-2)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"do_sample": True, "temperature": 0.7}, "do_sample"),
        ({"penalty_alpha": 0.6}, "penalty_alpha"),
        ({"max_gen_toks": LENGTH}, "max_gen_toks"),
    ],
)
def test_what_cannot_be_written_so_is_refused(
    sliced: SubnetLM, said: dict[str, Any], field: str
) -> None:
    with pytest.raises(InputError) as refused:
        sliced.generate_until([asked("Text:", said)])
    assert refused.value.field == field


def test_lm_eval_runs_a_task_of_its_own_on_the_subnet(
    supernet: Supernet, sliced: SubnetLM, shared_data: Path, tmp_path: Path
) -> None:
    lines = (shared_data / "textkind" / "validation.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "kinds.jsonl").write_text("\n".join(lines[:48]), encoding="utf-8")
    task = {
        "task": "kinds",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "kinds.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "Text: {{sentence1}}\nKind:",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "label",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    none_of_its_own = TaskManager(include_defaults=False)  # whose index takes ten seconds to read
    found = simple_evaluate(
        model=sliced, tasks=[task], bootstrap_iters=0, task_manager=none_of_its_own
    )["results"]["kinds"]
    read = [json.loads(line) for line in lines[:48]]
    settings = MultipleChoiceSettings(prompt="Text: {sentence1}\nKind:")
    made = PROBES[MULTIPLE_CHOICE.probe].prepare(
        Rows(
            {"sentence1": [row["sentence1"] for row in read]},
            np.array([row["label"] for row in read]),
            [row["choices"] for row in read],
        ),
        MULTIPLE_CHOICE,
        settings,
        load_tokenizer(supernet),
        supernet,
        LENGTH,
    )
    ours = measure(
        supernet,
        supernet.space.heuristic,
        laps_of(made, None, supernet, token_budget=1000),
        made.labels,
        MULTIPLE_CHOICE,
        settings=settings,
    ).metrics
    assert ours is not None
    assert found["acc,none"] == pytest.approx(ours["acc"])
    assert found["acc_norm,none"] == pytest.approx(ours["acc_norm"])
