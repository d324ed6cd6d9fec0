"""Flexora through REST: what is known to help is selected, and which rows said so can be proved.

On a real MiniLM that was fine-tuned on SST-2, and the published LLaMA. `pytest -m slow -s` prints
what each job selected.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from elasticnas.api_schemas.flexora_training import FlexoraSettings
from elasticnas.api_schemas.layer_selection import SelectionReport
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.methods.local import run_recipe
from tests.end_to_end.cluster import until
from tests.end_to_end.server import Server, write_rows
from tests.end_to_end.test_jobs import archive_of
from tests.supernet.gated_minilm import (
    merged,
    phrases,
    told,
    training_data,
    tuned_minilm,
    untold,
    with_dead_layers,
    write,
)
from tests.supernet.tiny import tiny_model, write_tokenizer

pytestmark = pytest.mark.slow

WAIT_SECONDS = 3600
"""For what takes a minute or two on an idle machine."""
SELECT = {
    "head": "frozen",
    "max_length": 32,
    "repeats": 1,
    "select_steps": 45,
    "outer_share": 0.4,
    "steps": 1,
}
"""All else is the recipe's default, the margin too."""


def register(server: Server, rows: Path, **columns: str) -> str:
    """A dataset's id."""
    fields = {
        "name": rows.stem,
        "task": "text-classification",
        "text_columns": "sentence",
        "label_column": "label",
        **columns,
    }
    with rows.open("rb") as file:
        answer = server.client.post("/v1/datasets", files={"file": file}, data=fields)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def start(server: Server, model: bytes, dataset: str, settings: dict[str, Any]) -> str:
    """A job's id."""
    request = {"dataset_id": dataset, "recipe": "flexora", "settings": settings}
    answer = server.client.post(
        "/v1/trainings",
        files={"archive": ("model.tar", model)},
        data={"request": json.dumps(request)},
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def finish(server: Server, job: str) -> dict[str, Any]:
    """The job, once it is over."""
    found: dict[str, Any] = {}

    def is_over() -> bool:
        found.update(server.client.get(f"/v1/jobs/{job}").json())
        return found["state"] not in ("queued", "running")

    until(is_over, WAIT_SECONDS, says=server.log())
    return found


def product(server: Server, job: str, file: str) -> str:
    """A file that the step `select` has left."""
    answer = server.client.get(f"/v1/jobs/{job}/steps/select/product/{file}")
    assert answer.status_code == 200, answer.text
    return answer.text


def selection(server: Server, job: str) -> SelectionReport:
    """The report of a job."""
    return SelectionReport.model_validate_json(product(server, job, "selection.json"))


@pytest.fixture(scope="module")
def tuned(shared_data: Path, minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tuned_minilm(shared_data, minilm, tmp_path_factory.mktemp("tuned"))


def test_layers_whose_adapters_can_change_nothing_are_never_selected(
    server: Server, tuned: Path, shared_data: Path, tmp_path: Path
):
    exact = dead_kept = 0
    for seed in range(5):
        live = set(Random(seed).sample(range(6), 3))
        base = with_dead_layers(tuned, set(range(6)) - live, tmp_path / f"dead-{seed}")
        dataset = register(
            server, write(phrases(shared_data, 800, seed), tmp_path / f"rows-{seed}.jsonl")
        )
        job = start(server, archive_of(base), dataset, {**SELECT, "seed": seed})
        over = finish(server, job)
        report = selection(server, job)
        kept = {int(name.removeprefix("layer.")) for name in report.selected}
        print(f"seed {seed}: live {sorted(live)}, selected {sorted(kept)}, {over['state']}")
        exact += kept == live
        dead_kept += len(kept - live)
        for layer in set(range(6)) - live:
            assert report.groups[layer].margin == pytest.approx(0, abs=1e-5)
    assert dead_kept == 0
    assert exact >= 4


def test_training_rows_that_give_the_label_away_select_nothing(
    server: Server, shared_data: Path, tuned: Path, tmp_path: Path
):
    """The same job selects some once the training rows themselves are the outer ones."""
    rows = phrases(shared_data, 1800, seed=7)
    base = used_to_codes(tuned, untold(rows[:900], seed=7), tmp_path)
    model = archive_of(base)
    for seed in range(3):
        leaky, honest = told(rows[900:1400]), untold(rows[1400:], seed)
        both = register(server, write([*leaky, *honest], tmp_path / f"both-{seed}.jsonl"))
        job = start(
            server,
            model,
            both,
            {**SELECT, "seed": seed, "outer": "last", "outer_share": 400 / 900},
        )
        over = finish(server, job)
        right = selection(server, job)
        outer = json.loads(product(server, job, "rows.json"))[0]["outer"]
        assert outer == list(range(500, 900))
        wrong = start(
            server,
            model,
            register(server, write(leaky, tmp_path / f"leaky-{seed}.jsonl")),
            {**SELECT, "seed": seed, "outer": "training"},
        )
        finish(server, wrong)
        found = selection(server, wrong)
        print(f"seed {seed}: outer rows {right.selected}, training rows {found.selected}")
        assert right.none_helps
        assert over["state"] == "failed"
        assert "keeps no adapter" in json.dumps(over["problem"])
        assert found.selected


def used_to_codes(tuned: Path, rows: list[dict[str, object]], folder: Path) -> Path:
    """The model, fine-tuned on rows whose code words mean nothing."""
    settings = FlexoraSettings.model_validate(
        {**SELECT, "head": "kept", "select_steps": 1, "finetuned": "all", "steps": 150}
    )
    made = run_recipe("flexora", tuned, training_data(rows), folder / "net", settings)
    supernet = read_supernet(made)
    return merged(supernet, supernet.space.maximal, folder / "used-to-codes")


def test_a_killed_server_goes_on_to_the_same_gates(tmp_path: Path):
    """With the worker inside the server, which is killed in the middle of the alternation."""
    tiny_model("bert").save_pretrained(tmp_path / "model")
    write_tokenizer(tmp_path / "model")
    server = Server(tmp_path / "data").start()
    try:
        model = archive_of(tmp_path / "model")
        dataset = register(server, write_rows(tmp_path / "rows.jsonl"))
        settings = {
            **{"repeats": 2, "select_steps": 120, "save_every": 20, "max_length": 16},
            **{"rule": "top", "top": 2, "steps": 20, "lora_rank": 4},
        }
        undisturbed = start(server, model, dataset, settings)
        assert finish(server, undisturbed)["state"] == "completed"
        job = start(server, model, dataset, settings)

        def is_in_the_middle() -> bool:
            step = server.client.get(f"/v1/jobs/{job}").json()["steps"][-1]
            return bool(step["saved_at"]) and 0 < step["progress"]["done"] < 240

        until(is_in_the_middle, WAIT_SECONDS, says=server.log())
        server.kill()
        server.start()
        over = finish(server, job)
        assert over["state"] == "completed", over
        assert over["steps"][0]["attempt"] > 1
        for file in ("selection.json", "alphas.csv", "rows.json"):
            assert product(server, job, file) == product(server, undisturbed, file)
        ends = [
            server.client.get(f"/v1/supernets/{each['supernet_id']}").json()["digest"]
            for each in (over, finish(server, undisturbed))
        ]
        assert ends[0] == ends[1]
    finally:
        server.stop()


def test_the_published_llama_runs_through(server: Server, shared_data: Path, tmp_path: Path):
    """Selected, fine-tuned, searched over on and off, and exported as a stock adapter."""
    prompt = {"prompt": "Text: {sentence1}\nKind:"}
    dataset = register(
        server,
        shared_data / "textkind" / "train.jsonl",
        task="multiple-choice",
        text_columns="sentence1",
        choices_column="choices",
        task_settings=json.dumps(prompt),
    )
    settings = {
        **{"max_length": 96, "repeats": 1, "select_steps": 20, "groups": "module", "rule": "top"},
        **{"top": 5, "steps": 20, "task_settings": prompt, "ranks": [8, 0]},
    }
    job = start(server, archive_of(shared_data / "llama-base"), dataset, settings)
    over = finish(server, job)
    assert over["state"] == "completed", over
    report = selection(server, job)
    assert len(report.groups) == 8  # query and value of four layers
    assert len(report.selected) == 5
    print(f"llama-base: {report.selected}")
    rows = tmp_path / "validation.jsonl"
    lines = (shared_data / "textkind" / "validation.jsonl").read_text().splitlines()[:60]
    rows.write_text("\n".join(lines) + "\n")
    measured = register(
        server,
        rows,
        task="multiple-choice",
        text_columns="sentence1",
        choices_column="choices",
        task_settings=json.dumps(prompt),
    )
    search = server.search(
        over["supernet_id"],
        measured,
        max_length=96,
        objectives=["accuracy", "trainable_params"],
        initial_subnets=list(report.initial_subnets),
        budget={"evaluations": 8},
    )
    assert server.finish(search)["state"] == "completed"
    chain = [each["subnet"] for each in server.evaluations(search)][:5]
    assert chain == [dict(each) for each in report.initial_subnets]
    assert server.weights(search, 0, "peft").status_code == 200
