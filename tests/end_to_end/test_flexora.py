"""Which adapters a job selects over REST, where it is known by construction which of them can help.

``pytest -m slow -s`` prints what every seed came to.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from elasticnas.api_schemas.layer_selection import SelectionReport
from elasticnas.client import Client
from elasticnas.supernet.checkpoint.reader import read_supernet
from tests.end_to_end.cluster import until
from tests.end_to_end.server import Server
from tests.end_to_end.test_jobs import archive_of

pytestmark = pytest.mark.slow

WAIT_SECONDS = 1800
"""For what takes a minute or two on an idle machine."""
LAYERS, DEAD = 6, 3
SEEDS = (200, 201, 202, 204, 205)
"""Of five different sets of dead layers. Whatever could be chosen was, on the seeds 100 to 104."""
CODES = ("green", "blue")
ONE_REPEAT = {
    "repeats": 1,
    "select_steps": 45,
    "outer_batch_size": 32,
    "max_length": 32,
    "steps": 1,
    "head": "frozen",
}
MEMORISING = {"select_steps": 60, "select_learning_rate": 2e-3}
"""Texts tell the label, too: adapters are to learn the leak before all else."""


@dataclass(frozen=True)
class Jobs:
    """Trainings on a server."""

    server: Server

    def dataset(self, lines: Sequence[dict[str, Any]], **form: str) -> str:
        """The id of a dataset of these rows."""
        content = "".join(json.dumps(line) + "\n" for line in lines).encode()
        answer = self.server.client.post(
            "/v1/datasets",
            files={"file": ("rows.jsonl", content)},
            data={"task": "text-classification", "text_columns": "text", "label_column": "label"}
            | form,
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def run(self, base: Path, dataset: str, **settings: Any) -> dict[str, Any]:
        """A training by the recipe, when it is over."""
        request = {"dataset_id": dataset, "recipe": "flexora", "settings": settings}
        answer = self.server.client.post(
            "/v1/trainings",
            files={"archive": ("model.tar", archive_of(base))},
            data={"request": json.dumps(request)},
        )
        assert answer.status_code == 202, answer.text
        path = f"/v1/jobs/{answer.json()['id']}"

        def is_over() -> bool:
            return self.server.client.get(path).json()["state"] not in ("queued", "running")

        until(is_over, WAIT_SECONDS, says=self.server.log())
        return dict(self.server.client.get(path).json())

    def left(self, job: dict[str, Any], file: str) -> Any:
        """What is in a JSON file that the selection has left."""
        path = f"/v1/jobs/{job['id']}/steps/select/product/{file}"
        answer = self.server.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def selection(self, job: dict[str, Any]) -> SelectionReport:
        """What it found."""
        return SelectionReport.model_validate(self.left(job, "selection.json"))


@pytest.fixture(scope="module")
def jobs(server: Server) -> Jobs:
    return Jobs(server)


def phrases(data: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """Phrases of SST-2 of 4 to 10 words."""
    lines = map(json.loads, (data / "sst2" / "train.jsonl").read_text().splitlines())
    rows = [{"text": line["sentence"], "label": line["label"]} for line in lines]
    return random.Random(seed).sample([r for r in rows if 4 <= len(r["text"].split()) <= 10], count)


def coded(rows: Sequence[dict[str, Any]], generator: random.Random, *, leaks: bool) -> list[Any]:
    """Rows with a code word before the text: the label's, or a coin's."""
    words = [CODES[row["label"] if leaks else generator.randrange(2)] for row in rows]
    return [{**row, "text": f"{word} {row['text']}"} for word, row in zip(words, rows, strict=True)]


@pytest.fixture(scope="module")
def used_to_codes(
    minilm: Path, shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """MiniLM fine-tuned on phrases with code words that say nothing."""
    torch.manual_seed(0)
    folder, size, steps = tmp_path_factory.mktemp("codes") / "base", 32, 120
    tokenizer = AutoTokenizer.from_pretrained(minilm)
    model = AutoModelForSequenceClassification.from_pretrained(minilm, num_labels=2)
    rows = coded(phrases(shared_data, size * steps, 7), random.Random(7), leaks=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1e-4 * (1 - step / steps)
        batch = rows[step * size : (step + 1) * size]
        encoded = tokenizer([row["text"] for row in batch], padding=True, return_tensors="pt")
        model(**encoded, labels=torch.tensor([row["label"] for row in batch])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


# -- layers that can change nothing --------------------------------------------------------------


def with_dead_layers(base: Path, dead: Sequence[int], folder: Path) -> Path:
    """A model where these layers' attention gives zero, whatever their adapters do."""
    model = AutoModelForSequenceClassification.from_pretrained(base)
    with torch.no_grad():
        for layer in dead:
            output = model.bert.encoder.layer[layer].attention.output.dense
            output.weight.zero_()
            output.bias.zero_()
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def test_of_layers_half_of_which_are_dead_those_that_live_are_selected(
    jobs: Jobs, shared_data: Path, used_to_codes: Path, tmp_path: Path
):
    exact = 0
    for seed in SEEDS:
        dead = sorted(random.Random(f"dead/{seed}").sample(range(LAYERS), DEAD))
        base = with_dead_layers(used_to_codes, dead, tmp_path / f"base-{seed}")
        rows = coded(phrases(shared_data, 800, seed), random.Random(seed), leaks=False)
        job = jobs.run(base, jobs.dataset(rows), **ONE_REPEAT, seed=seed)
        report = jobs.selection(job)
        kept = [at for at, group in enumerate(report.groups) if group.name in report.selected]
        margins = [float(group.margin or 0) for group in report.groups]
        print(f"seed {seed}: dead {dead}, kept {kept}, margins {[f'{m:.2f}' for m in margins]}")
        assert not set(kept) & set(dead)
        assert max(abs(margins[layer]) for layer in dead) <= 1e-5
        exact += len(kept) == LAYERS - DEAD
    # A live layer may hurt on the rows that are held out, and is then rightly left out.
    assert exact >= 4


# -- training rows that give the label away ------------------------------------------------------


@pytest.mark.parametrize("seed", [200, 201, 202])
def test_where_training_rows_give_the_label_away_held_out_rows_select_nothing(
    seed: int, jobs: Jobs, shared_data: Path, used_to_codes: Path
):
    rows, generator = phrases(shared_data, 800, 50 + seed), random.Random(seed)
    file = coded(rows[:480], generator, leaks=True) + coded(rows[480:], generator, leaks=False)
    dataset = jobs.dataset(file)
    how = {**ONE_REPEAT, **MEMORISING, "outer_share": 0.4, "seed": seed}
    job = jobs.run(used_to_codes, dataset, **how, outer="last")
    held_out = jobs.selection(job)
    margins = [f"{group.margin:.2f}" for group in held_out.groups]
    print(f"seed {seed}: held-out rows as outer ones keep {held_out.selected}, margins {margins}")
    assert held_out.none_helps
    assert job["state"] == "failed"
    assert "the selection keeps no adapter" in job["problem"]["detail"]
    (used,) = jobs.left(job, "rows.json")
    assert used == {"inner": list(range(480)), "outer": list(range(480, 800))}

    # The wrong split, by name: the rows with the leak are the outer ones, too.
    dataset = jobs.dataset(file[:480])
    wrong = jobs.run(used_to_codes, dataset, **how, outer="training")
    leaked = jobs.selection(wrong)
    print(f"seed {seed}: training rows as outer ones keep {leaked.selected}")
    assert leaked.selected
    assert wrong["state"] == "completed", wrong["problem"]
    (used,) = jobs.left(wrong, "rows.json")
    assert used["outer"] == used["inner"] == list(range(480))


# -- a causal language model ---------------------------------------------------------------------


def test_layers_of_a_llama_are_selected_and_fine_tuned(
    jobs: Jobs, shared_data: Path, tmp_path: Path
):
    lines = (shared_data / "textkind" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    dataset = jobs.dataset(
        [json.loads(line) for line in lines[:400]],
        task="multiple-choice",
        text_columns="sentence1",
        choices_column="choices",
        task_settings=json.dumps({"prompt": "Text: {sentence1}\nKind:"}),
    )
    job = jobs.run(
        shared_data / "llama-base",
        dataset,
        **{**ONE_REPEAT, "max_length": 64, "select_steps": 20, "steps": 10},
        rule="top",
        top=2,
    )
    assert job["state"] == "completed", job["problem"]
    report = jobs.selection(job)
    print(f"llama: kept {report.selected}")
    client = Client(str(jobs.server.client.base_url))
    client.download_product(job["id"], "finetune", tmp_path / "net")
    supernet = read_supernet(tmp_path / "net")
    layers = {supernet.family.layer_of(module) for module in supernet.adapters}
    assert {f"layer.{layer}" for layer in layers} == set(report.selected)
