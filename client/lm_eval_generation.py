"""lm-eval's ``generate_until``: prompts, where a text ends, how its answer is read and compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from elasticnas.api_schemas.problems import InputError
from elasticnas.client.lm_eval_rendered import (
    ANSWER,
    CONTEXT,
    ELSEWHERE,
    AskedDoc,
    RenderedTask,
    doc_refusal,
    metrics_of,
    refusal,
    require_text,
)

METRICS = {"exact_match": "mean"}
MAX_NEW_TOKENS = 256
"""lm-eval's own default, where a task does not say."""
_NEW_TOKENS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""What a task may call them; of several, lm-eval takes the first of these."""
_OF_SAMPLING = ("do_sample", "temperature", "top_p", "top_k")
_IGNORED = ("regexes_to_ignore", "ignore_case", "ignore_punctuation", "ignore_numbers")
_PLAIN_FILTERS = ("remove_whitespace", "lowercase", "uppercase")


def generation(task: Any, docs: Sequence[AskedDoc], answer_filter: str | None) -> RenderedTask:
    """A row for each prompt, with the right answers.

    Raises:
        InputError: texts are drawn, or read or compared in another way than ours; or the task has
            no ``answer_filter`` of this name.
    """
    metrics, others = metrics_of(task, METRICS)
    name, filters = _pipeline(task, answer_filter)
    several = bool(task.multiple_target)
    settings = {
        "prompt": f"{{{CONTEXT}}}",
        **_decoding(task, docs[0].requests[0][1]),
        "answer_filters": [_filter(task, each) for each in filters],
        "ignored": _ignored(task),
        "any_of": several,
    }
    pipelines = [each["name"] for each in task.config.filter_list or ()]
    note = None
    if len(pipelines) > 1:
        note = f"answers are read by the filter {name}, of {', '.join(pipelines)}"
    return RenderedTask(
        task.config.task,
        [_row(task, doc, several) for doc in docs],
        "generation",
        {"text_columns": CONTEXT, "label_column": ANSWER},
        {name: value for name, value in settings.items() if value or name == "answer_filters"},
        metrics,
        others,
        note,
    )


def _row(task: Any, doc: AskedDoc, several: bool) -> Mapping[str, str]:
    context = require_text(task, doc, "the prompt", doc.requests[0][0])
    gold = task.doc_to_target(doc.doc)
    if task.config.doc_to_choice is not None:
        gold = task.doc_to_choice(doc.doc)[gold]
    if isinstance(gold, list) != several:
        raise doc_refusal(task, doc, "there is a list of right answers where others have none")
    if not several:
        return {CONTEXT: context, ANSWER: str(gold)}
    answers = [require_text(task, doc, "a right answer", each) for each in gold]
    return {CONTEXT: context, ANSWER: json.dumps(answers)}


def _pipeline(task: Any, asked: str | None) -> tuple[str, Sequence[Mapping[str, Any]]]:
    """The filters that answers are read by, without the one that takes the only answer."""
    listed = task.config.filter_list or [{"name": "none", "filter": [{"function": "take_first"}]}]
    pipelines = {each["name"]: each["filter"] for each in listed}
    name = listed[0]["name"] if asked is None else asked
    if name not in pipelines:
        raise InputError(
            "the task has no filter of this name",
            field="lm_eval_filter",
            value=name,
            remedy=f"it has {', '.join(pipelines)}",
        )
    *filters, last = pipelines[name]
    if last["function"] != "take_first" or any(f["function"] == "take_first" for f in filters):
        raise refusal(task, f"its filter {name} does not end by taking one answer", ELSEWHERE)
    return name, filters


def _filter(task: Any, said: Mapping[str, Any]) -> Any:
    """One of ours."""
    from lm_eval.api.registry import get_filter

    name = said["function"]
    if name in _PLAIN_FILTERS:
        return name
    if name != "regex":
        raise refusal(
            task,
            f"its filter {name} is none of regex, {', '.join(_PLAIN_FILTERS)}",
            f"choose another by lm_eval_filter if it has one, or {ELSEWHERE}",
        )
    found = get_filter(name)(**{key: value for key, value in said.items() if key != "function"})
    return {
        "regex_pattern": found.regex_pattern,
        "group_select": found.group_select,
        "fallback": found.fallback,
    }


def _ignored(task: Any) -> dict[str, Any]:
    """What of answers does not count: the arguments of the task's ``exact_match``."""
    said: Mapping[str, Any] = next(
        (each for each in task.config.metric_list or () if each["metric"] == "exact_match"), {}
    )
    return {name: said[name] for name in _IGNORED if said.get(name)}


def _decoding(task: Any, said: Mapping[str, Any]) -> dict[str, Any]:
    """How texts are written: greedily or by beams."""
    temperature = float(said.get("temperature") or 0.0)
    if temperature and said.get("do_sample") is not False:
        raise refusal(
            task, "it draws its texts at random, and here they are written greedily", ELSEWHERE
        )
    for name in said:
        if name not in ("until", "num_beams", *_NEW_TOKENS, *_OF_SAMPLING):
            raise refusal(task, f"its generation_kwargs say {name}, which is not known", ELSEWHERE)
    until = said.get("until") or []
    new_tokens = next((said[n] for n in _NEW_TOKENS if said.get(n) is not None), MAX_NEW_TOKENS)
    return {
        "max_new_tokens": int(new_tokens),
        "beams": int(said.get("num_beams") or 1),
        "stop": [text for text in ([until] if isinstance(until, str) else until) if text],
    }
