"""Tasks of lm-eval as datasets: measured by us as lm-eval measures them, or refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

pytest.importorskip("lm_eval", reason="lm-eval is not installed: elasticnas[lm]")

from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from elasticnas.api_schemas.problems import InputError
from elasticnas.client.lm_eval_rendered import RenderedTask
from elasticnas.client.lm_eval_tasks import rendered_task, write_rows
from elasticnas.service.datasets.reading import columns_asked, read_rows
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.measuring.measure import laps_of, measure
from elasticnas.supernet.measuring.probes import PROBES
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import TASKS

LENGTH = 512
SPACE = {
    "version": 2,
    "dimensions": [{"name": "ffn", "part": "ffn", "layer": 0, "choices": [512, 256]}],
}


@pytest.fixture(scope="module")
def folder(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaMA of 3 million parameters that knows the tasks' language, with a search space."""
    made = tmp_path_factory.mktemp("llama")
    shutil.copytree(shared_data / "llama-base", made / "base")
    (made / "search_space.json").write_text(json.dumps(SPACE), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def supernet(folder: Path) -> Supernet:
    return read_supernet(folder).to(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def hugging_face(folder: Path) -> HFLM:
    return HFLM(pretrained=str(folder / "base"), dtype="float32", device="cpu", batch_size=1)


@pytest.fixture
def write_task(shared_data: Path, tmp_path: Path) -> Any:
    """Write the YAML of a task on the first rows of shared data."""

    def write(data: str, rows: int, said: Mapping[str, Any], functions: str = "") -> str:
        for split in ("train", "validation"):
            lines = (shared_data / data / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
            (tmp_path / f"{split}.jsonl").write_text("\n".join(lines[:rows]), encoding="utf-8")
        files = {name: str(tmp_path / f"{name}.jsonl") for name in ("train", "validation")}
        config = {
            "task": f"own_{data}",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": files, "cache_dir": str(tmp_path / "cache")},
            "validation_split": "validation",
            "fewshot_split": "train",
            **said,
        }
        text = yaml.safe_dump(config).replace("'!function", "!function").replace(".py'", ".py")
        (tmp_path / "own.py").write_text(functions, encoding="utf-8")
        (tmp_path / "own.yaml").write_text(text.replace("it'", "it"), encoding="utf-8")
        return str(tmp_path / "own.yaml")

    return write


def theirs(model: HFLM, task: str, num_fewshot: int | None = None) -> dict[str, float]:
    """What lm-eval measures itself."""
    found = simple_evaluate(
        model,
        tasks=[task],
        num_fewshot=num_fewshot,
        bootstrap_iters=0,
        task_manager=TaskManager(include_defaults=False),
    )["results"]
    (results,) = found.values()
    return results


def ours(supernet: Supernet, rendered: RenderedTask, folder: Path) -> dict[str, float]:
    """What an evaluation of the uploaded dataset measures."""
    write_rows(rendered, file := folder / "rows.jsonl")
    fields = rendered.fields
    task = TASKS[fields["task"]]
    choices = fields.get("choices_column")
    asked = columns_asked(
        task,
        None,
        [fields["text_columns"]],
        fields.get("label_column"),
        None if choices is None else [choices],
        None,
    )
    read = read_rows(file, task=task, asked=asked, kind=None)
    settings = task.settle(json.loads(fields["task_settings"]), read.known())
    examples = PROBES[task.probe].prepare(
        read.rows, task, settings, load_tokenizer(supernet), supernet, LENGTH
    )
    found = measure(
        supernet,
        supernet.space.maximal,
        laps_of(examples, None, supernet, token_budget=1000),
        examples.labels,
        task,
        settings=settings,
    ).metrics
    assert found is not None
    return found


ARC = {
    "output_type": "multiple_choice",
    "doc_to_text": "Question: {{sentence1}}\nAnswer:",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "label",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
}
INPUTS = {
    **ARC,
    "doc_to_text": "{{label}}",
    "doc_to_choice": "{{[sentence1 ~ ' ' ~ choices[0], sentence1 ~ ' ' ~ choices[1],"
    " sentence1 ~ ' ' ~ choices[2]]}}",
    "doc_to_target": "is what the teacher said.",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "num_fewshot"),
    [
        (ARC, None),
        ({**ARC, "description": "Choose.\n\n", "target_delimiter": "\n"}, 2),
        (INPUTS, 1),
    ],
    ids=["plain", "few-shot", "inputs"],
)
def test_multiple_choice_is_lm_evals(
    supernet: Supernet,
    hugging_face: HFLM,
    write_task: Any,
    tmp_path: Path,
    said: dict[str, Any],
    num_fewshot: int | None,
) -> None:
    if said is INPUTS:
        said = {**said, "process_docs": "!function own.keep_it"}
    keep = "def keep_it(docs):\n    return docs.filter(lambda doc: doc['label'] < 3)\n"
    task = write_task("arc_easy", 48, said, keep)
    found = theirs(hugging_face, task, num_fewshot)
    rendered = rendered_task(task, num_fewshot=num_fewshot)
    assert rendered.metrics == ["acc", "acc_norm"]
    metrics = ours(supernet, rendered, tmp_path)
    assert metrics["acc"] == pytest.approx(found["acc,none"])
    assert metrics["acc_norm"] == pytest.approx(found["acc_norm,none"])
    assert 0 < metrics["acc"] < 1


FILTERS = [
    {"name": "strict", "filter": [{"function": "regex"}, {"function": "take_first"}]},
    {
        "name": "digit",
        "filter": [
            {"function": "lowercase"},
            {"function": "regex", "regex_pattern": r"(\d)[\d.,]*|([a-z])\b", "group_select": -1},
            {"function": "take_first"},
        ],
    },
]
GSM8K = {
    "output_type": "generate_until",
    "doc_to_text": "Question: {{sentence1}}\nAnswer:",
    "doc_to_target": "{{(label | int | string)[0]}}",
    "generation_kwargs": {"until": ["\n", "Question:"], "max_gen_toks": 12, "do_sample": False},
    "filter_list": FILTERS,
    "metric_list": [{"metric": "exact_match", "ignore_case": True, "ignore_punctuation": False}],
}


@pytest.mark.slow
@pytest.mark.parametrize("target", ["one", "several"])
def test_generation_is_lm_evals(
    supernet: Supernet, hugging_face: HFLM, write_task: Any, tmp_path: Path, target: str
) -> None:
    several = "{{[(label | int | string)[0], 'A', '1']}}"
    said = GSM8K if target == "one" else {**GSM8K, "doc_to_target": several}
    task = write_task("gsm8k", 40, said)
    found = theirs(hugging_face, task, 1)
    for name in ("strict", "digit"):
        rendered = rendered_task(task, num_fewshot=1, answer_filter=name)
        measured = ours(supernet, rendered, tmp_path)["exact_match"]
        assert measured == pytest.approx(found[f"exact_match,{name}"])
    assert 0 < measured < 1
    assert rendered_task(task, limit=3).settings["answer_filters"] == [
        {"regex_pattern": r"#### (\-?[0-9\.\,]+)", "group_select": 0, "fallback": "[invalid]"}
    ]


COUNTING = """
import re

def count_it(doc, results):
    (log_likelihood,) = results
    return {
        "word_perplexity": (log_likelihood, len(re.split(r"\\s+", doc["answer"]))),
        "byte_perplexity": (log_likelihood, len(doc["answer"].encode("utf-8"))),
    }
"""
ROLLING = {
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "{{(sentence1 ~ ' ') * 9}}",
    "metric_list": [{"metric": "word_perplexity"}, {"metric": "byte_perplexity"}],
}


@pytest.mark.slow
@pytest.mark.parametrize("counted", ["the text", "another"])
def test_perplexity_is_lm_evals(
    supernet: Supernet, hugging_face: HFLM, write_task: Any, tmp_path: Path, counted: str
) -> None:
    function = {} if counted == "the text" else {"process_results": "!function own.count_it"}
    task = write_task("gsm8k", 6, {**ROLLING, **function}, COUNTING)
    found = theirs(hugging_face, task)
    rendered = rendered_task(task)
    assert ("counted" in rendered.settings) == bool(function)
    metrics = ours(supernet, rendered, tmp_path)
    for name in ("word_perplexity", "byte_perplexity"):
        assert metrics[name] == pytest.approx(found[f"{name},none"], rel=1e-4)


def without(said: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in said.items() if name not in names}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({**ARC, "process_results": "!function own.count_it"}, "a function of its own"),
        ({**ARC, "doc_to_target": "{{[label]}}"}, "several right choices"),
        (
            {**ARC, "doc_to_target": "{{label if idx == 0 else 7}}"},
            "of row 1 (from 0) the right",
        ),
        ({**ARC, "metric_list": [{"metric": "mcc"}]}, "measured by mcc"),
        ({**ARC, "metric_list": [{"metric": "acc", "aggregation": "median"}]}, "measured by acc"),
        ({**without(ARC, "doc_to_choice"), "output_type": "loglikelihood"}, "loglikelihood"),
        ({**GSM8K, "filter_list": [{"name": "a", "filter": [{"function": "map"}]}]}, "filter a"),
        (
            {**GSM8K, "generation_kwargs": {"until": ["\n"], "temperature": 0.7}},
            "draws its texts at random",
        ),
        ({**GSM8K, "generation_kwargs": {"until": [], "penalty_alpha": 0.6}}, "penalty_alpha"),
        (
            {**ROLLING, "process_results": "!function own.count_it", "doc_to_target": "sentence1"},
            None,
        ),
        ({**ROLLING, "doc_to_target": ""}, "is not text, or empty"),
        ({**ARC, "doc_to_text": "{{no.such.thing}}"}, "lm-eval cannot"),
    ],
)
def test_what_cannot_be_a_dataset_is_refused_by_name(
    write_task: Any, said: dict[str, Any], why: str | None
) -> None:
    data = "arc_easy" if said["output_type"] in ("multiple_choice", "loglikelihood") else "gsm8k"
    task = write_task(data, 4, said, COUNTING)
    if why is None:
        assert rendered_task(task).settings["counted"] == "{counted}"
        return
    with pytest.raises(InputError) as refused:
        rendered_task(task)
    assert why in str(refused.value)
    assert refused.value.field == "lm_eval"


def test_a_filter_that_a_task_lacks_is_refused(write_task: Any) -> None:
    with pytest.raises(InputError, match="it has strict, digit"):
        rendered_task(write_task("gsm8k", 2, GSM8K), answer_filter="nose")
    with pytest.raises(InputError, match="this one does not"):
        rendered_task(write_task("arc_easy", 2, ARC), answer_filter="nose")


def test_a_group_is_refused_with_its_tasks(write_task: Any, tmp_path: Path) -> None:
    write_task("arc_easy", 2, ARC)
    member = yaml.safe_load((tmp_path / "own.yaml").read_text(encoding="utf-8"))
    group = {"group": "both", "task": [member, {**member, "task": "other"}]}
    (tmp_path / "group.yaml").write_text(yaml.safe_dump(group), encoding="utf-8")
    with pytest.raises(InputError, match="other, own_arc_easy") as refused:
        rendered_task(str(tmp_path / "group.yaml"))
    assert "a group of 2," in str(refused.value)


@pytest.mark.slow
def test_an_unknown_task_is_said_to_be_none() -> None:
    with pytest.raises(InputError, match="lm-eval ls tasks"):
        rendered_task("no_such_task")


@pytest.mark.slow
@pytest.mark.parametrize(("group", "member"), [("glue", "rte"), ("ai2_arc", "arc_easy")])
def test_groups_of_lm_evals_own_are_refused_before_data_are_loaded(group: str, member: str) -> None:
    with pytest.raises(InputError, match=f"one by one: .*{member}"):
        rendered_task(group)
