"""Tasks of lm-eval as datasets of ours: their rows, and the settings that measure them alike.

lm-eval (Gao et al., "The Language Model Evaluation Harness", 0.4.13) loads a task, draws its
few-shot examples and writes its prompts; what it would ask a model is kept as rows. So whoever
measures them needs no lm-eval. It is not among ElasticNAS's own requirements: ``elasticnas[lm]``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from elasticnas.api_schemas.problems import InputError
from elasticnas.client.lm_eval_choices import multiple_choice
from elasticnas.client.lm_eval_generation import generation
from elasticnas.client.lm_eval_rendered import ELSEWHERE, FIELD, AskedDoc, RenderedTask, refusal
from elasticnas.client.lm_eval_texts import texts

FEWSHOT_SEED = 1234
"""lm-eval's own, ``DEFAULT_OTHER_SEED``: the same examples stand before the same rows."""


def rendered_task(
    name: str,
    *,
    num_fewshot: int | None = None,
    limit: int | None = None,
    answer_filter: str | None = None,
) -> RenderedTask:
    """The rows and settings that measure as lm-eval measures this task.

    Args:
        name: a task that lm-eval knows, or the path of a task's YAML.
        num_fewshot: examples before each row; None: as many as the task says. A task that says 0
            stays without, as in lm-eval.
        limit: so many rows, the first; None: all.
        answer_filter: of a task that reads answers by several filters, this one; None: the first.

    Raises:
        InputError: lm-eval is not installed, or does not find or load the task; or the task is
            measured in a way that no task of ours is.
    """
    task = _loaded(name)
    _require_plain(task)
    if num_fewshot is not None and task.config.num_fewshot != 0:
        task.set_config("num_fewshot", num_fewshot)
    task.set_fewshot_seed(FEWSHOT_SEED)
    try:
        task.build_all_requests(limit=limit)
    except Exception as error:  # of the task's own templates and functions
        raise refusal(task, f"lm-eval cannot write its prompts: {error}") from error
    asked = list(_by_doc(task.instances))
    kind = task.OUTPUT_TYPE
    if kind == "generate_until":
        return generation(task, asked, answer_filter)
    if answer_filter is not None:
        raise InputError(
            "answers are read by a filter where a task generates texts, and this one does not",
            field="lm_eval_filter",
            value=answer_filter,
        )
    if kind == "multiple_choice":
        return multiple_choice(task, asked)
    if kind == "loglikelihood_rolling":
        return texts(task, asked)
    raise refusal(task, f"no task of ours measures lm-eval's output type {kind}", ELSEWHERE)


def _loaded(name: str) -> Any:
    """The task of this name or file."""
    try:
        from lm_eval.api.task import ConfigurableTask
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise InputError(
            "lm-eval is not installed", field=FIELD, remedy="pip install 'elasticnas[lm]'"
        ) from error
    is_file = Path(name).is_file()
    # The index of lm-eval's own tasks takes ten seconds to read.
    manager = TaskManager(include_defaults=not is_file)
    _require_one(manager, name)
    try:
        found = manager.load(name)
    except Exception as error:  # lm-eval and datasets raise what their sources raise
        raise InputError(
            f"lm-eval cannot load the task: {type(error).__name__}: {error}",
            field=FIELD,
            value=name,
            remedy="its data come from the Hugging Face hub, or from the files that "
            "dataset_kwargs of a YAML of your own names",
        ) from error
    (task,) = found["tasks"].values()
    if type(task) is not ConfigurableTask:
        raise InputError(
            "the task is written in Python, which may measure anything",
            field=FIELD,
            value=name,
            remedy=ELSEWHERE,
        )
    return task


def _require_one(manager: Any, name: str) -> None:
    """The name is that of one task: told before its data are loaded."""
    from lm_eval.tasks._index import Kind, TaskIndex

    entry = manager.task_index.get(name) or TaskIndex.entry_from_path(Path(name))
    if entry is None:
        raise InputError(
            "lm-eval has no task of this name, and there is no such file",
            field=FIELD,
            value=name,
            remedy="`lm-eval ls tasks` lists its tasks",
        )
    if entry.kind not in (Kind.GROUP, Kind.TAG):
        return
    # Of a group in a file of its own, lm-eval takes the members for the name.
    members = entry.tags if entry.kind is Kind.TAG else (entry.cfg or {"task": entry.name})["task"]
    names = sorted(each if isinstance(each, str) else str(each.get("task")) for each in members)
    raise InputError(
        f"this is a group of {len(names)}, and a dataset is of one task",
        field=FIELD,
        value=name,
        remedy=f"add its tasks one by one: {', '.join(names)}",
    )


def _require_plain(task: Any) -> None:
    """Rows of texts, without what no row can carry."""
    config = task.config
    if config.doc_to_image or config.doc_to_audio:
        raise refusal(task, "its rows hold pictures or sounds", ELSEWHERE)
    if config.process_results is not None and task.OUTPUT_TYPE != "loglikelihood_rolling":
        raise refusal(task, "it computes its results by a function of its own", ELSEWHERE)


def _by_doc(instances: Sequence[Any]) -> Iterator[AskedDoc]:
    """What lm-eval would ask a model of each row."""
    for number, asked in groupby(instances, key=lambda instance: instance.doc_id):
        requests = list(asked)
        yield AskedDoc(number, requests[0].doc, [tuple(each.args) for each in requests])


def write_rows(task: RenderedTask, file: Path) -> None:
    """Write the rows as JSON Lines: with `RenderedTask.fields` an upload of a dataset."""
    with file.open("w", encoding="utf-8") as sink:
        for row in task.rows:
            sink.write(json.dumps(row) + "\n")
