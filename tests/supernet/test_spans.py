"""Extractive question answering gives what Transformers' models and examples give."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.weights import SubnetCard
from elasticnas.search.races.course import Course, pack
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.contracts.families import FamilyContract, exported
from elasticnas.supernet.export.peft_adapter import write_peft_adapter
from elasticnas.supernet.families.bert import BERT
from elasticnas.supernet.families.distilbert import DISTILBERT
from elasticnas.supernet.families.family import Family, HeadKind
from elasticnas.supernet.families.roberta import ROBERTA
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.forward.prefixes import PrefixCache
from elasticnas.supernet.measuring.measure import laps_of, measure
from elasticnas.supernet.measuring.spans import SpanExamples, answers, prepare
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import QUESTION_ANSWERING
from elasticnas.tasks.question_answering import QuestionAnsweringSettings
from elasticnas.tasks.rows import Rows
from tests.supernet.questions import move_head, rows, write_asked

LENGTH, STRIDE = 20, 6
SETTINGS = QuestionAnsweringSettings(stride=STRIDE, n_best=5, max_answer_length=4)


class OfQuestions(FamilyContract):
    """The contract on a checkpoint with starts and ends."""

    @contextmanager
    def supernet(self, *, adapted: bool = True) -> Iterator[Supernet]:
        with tempfile.TemporaryDirectory() as folder:
            yield read_supernet(write_asked(Path(folder), self.family, adapted=adapted))


class TestBert(OfQuestions):
    family = BERT


@pytest.mark.slow
class TestRoberta(OfQuestions):
    family = ROBERTA


@pytest.mark.slow
class TestDistilBert(OfQuestions):
    family = DISTILBERT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_asked(tmp_path_factory.mktemp("asked"), BERT)


@pytest.fixture(scope="module")
def supernet(folder: Path) -> Supernet:
    return read_supernet(folder)


@pytest.fixture(scope="module")
def asked() -> Rows:
    found = rows(40)
    return Rows(
        {name: [row[name] for row in found] for name in ("question", "context")},
        np.array([json.dumps(row["answers"]["text"]) for row in found], dtype=object),
    )


def prepared(
    supernet: Supernet, asked: Rows, settings: QuestionAnsweringSettings = SETTINGS
) -> SpanExamples:
    tokenizer = load_tokenizer(supernet)
    return prepare(asked, QUESTION_ANSWERING, settings, tokenizer, supernet, LENGTH)


def predicted(supernet: Supernet, examples: SpanExamples, budget: int = 200) -> list[str]:
    active, found = activate(supernet, supernet.space.heuristic), [""] * len(examples)
    with torch.inference_mode():
        for batch in examples.batches(budget):
            for row, text in zip(batch.rows.tolist(), answers(active, batch), strict=True):
                found[row] = text
    return found


def by_transformers(folder: Path, asked: Rows, settings: QuestionAnsweringSettings) -> list[str]:
    """`postprocess_qa_predictions` of Transformers' examples, written down plainly."""
    model = AutoModelForQuestionAnswering.from_pretrained(folder, trust_remote_code=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [
        by_transformers_of_one(model, tokenizer, question.lstrip(), context, settings)
        for question, context in zip(*asked.texts.values(), strict=True)
    ]


def by_transformers_of_one(
    model: Any, tokenizer: Any, question: str, context: str, settings: QuestionAnsweringSettings
) -> str:
    windows = tokenizer(
        question,
        context,
        truncation="only_second",
        max_length=LENGTH,
        stride=STRIDE,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    null: dict[str, Any] | None = None
    found: list[dict[str, Any]] = []
    for number, ids in enumerate(windows["input_ids"]):
        types = windows["token_type_ids"][number] if "token_type_ids" in windows else None
        with torch.inference_mode():
            output = model(
                input_ids=torch.tensor([ids]),
                token_type_ids=None if types is None else torch.tensor([types]),
            )
        starts, ends = (x[0].numpy() for x in (output.start_logits, output.end_logits))
        offsets = [
            place if text == 1 else None
            for place, text in zip(
                windows["offset_mapping"][number], windows.sequence_ids(number), strict=True
            )
        ]
        of_none = starts[0] + ends[0]
        if null is None or null["score"] > of_none:
            null = {"offsets": (0, 0), "score": of_none, "start": starts[0], "end": ends[0]}
        for start in np.argsort(starts)[-1 : -settings.n_best - 1 : -1].tolist():
            for end in np.argsort(ends)[-1 : -settings.n_best - 1 : -1].tolist():
                if offsets[start] is None or offsets[end] is None:
                    continue
                if end < start or end - start + 1 > settings.max_answer_length:
                    continue
                found.append(
                    {
                        "offsets": (offsets[start][0], offsets[end][1]),
                        "score": starts[start] + ends[end],
                        "start": starts[start],
                        "end": ends[end],
                    }
                )
    assert null is not None
    has_null = settings.null_threshold is not None
    best = sorted([*found, *([null] if has_null else [])], key=lambda x: x["score"], reverse=True)
    texts = [context[each["offsets"][0] : each["offsets"][1]] for each in best]
    if not any(texts):
        return ""
    if settings.null_threshold is None:
        return texts[0]
    place = next(place for place, text in enumerate(texts) if text)
    difference = null["score"] - best[place]["start"] - best[place]["end"]
    return "" if difference > settings.null_threshold else texts[place]


@pytest.mark.parametrize("null_threshold", [None, 0.0, 4.0])
def test_spans_are_those_of_transformers_examples(
    supernet: Supernet, asked: Rows, tmp_path: Path, null_threshold: float | None
):
    settings = SETTINGS.model_copy(update={"null_threshold": null_threshold})
    examples = prepared(supernet, asked, settings)
    assert max(len(row.numbers) for row in examples.rows_in_windows) > 3
    stock = exported(supernet, supernet.space.heuristic, tmp_path / f"of_{null_threshold}")
    expected = by_transformers(stock, asked, settings)
    assert predicted(supernet, examples) == expected
    assert len(set(expected)) > 10
    if null_threshold is not None:
        assert 0 < expected.count("") < len(expected)


def test_answers_do_not_depend_on_what_shares_a_batch(supernet: Supernet, asked: Rows):
    examples = prepared(supernet, asked)
    together = predicted(supernet, examples, 4000)
    assert predicted(supernet, examples, 1) == together
    turned = list(range(len(examples)))[::-1]
    assert predicted(supernet, examples.select(turned)) == together[::-1]
    assert max(batch.inputs["input_ids"].numel() for batch in examples.batches(200)) <= 200


def test_short_answers_and_few_starts_are_heeded(supernet: Supernet, asked: Rows):
    settings = SETTINGS.model_copy(update={"max_answer_length": 1, "n_best": 1000})
    texts = predicted(supernet, prepared(supernet, asked, settings))
    assert all(len(text.split()) == 1 for text in texts)


def test_laps_and_shared_hidden_states_change_nothing(supernet: Supernet, asked: Rows):
    examples = prepared(supernet, asked)
    rng = np.random.default_rng(0)
    course = Course.laid_by([pack(rng.random(len(examples)) < 0.5) for _ in range(8)])
    assert course is not None
    cache = PrefixCache(2**26)
    shared = laps_of(examples, course, supernet, token_budget=300, cache=cache)
    plain = laps_of(examples, None, supernet, token_budget=300)
    for subnet in (supernet.space.maximal, supernet.space.heuristic, supernet.space.maximal):
        found, expected = (
            measure(
                supernet,
                subnet,
                laps,
                examples.labels,
                QUESTION_ANSWERING,
                settings=SETTINGS,
            )
            for laps in (shared, plain)
        )
        assert found.metrics == expected.metrics
    assert cache.held_bytes > 0


def test_a_question_that_leaves_no_room_is_named(supernet: Supernet):
    long = Rows(
        {"question": ["w5", "w5 " * 14], "context": ["w6 " * 30, "w6 " * 30]},
        np.array(['["w6"]'] * 2, dtype=object),
    )
    with pytest.raises(InputError, match="row 2 has 14 tokens") as caught:
        prepared(supernet, long)
    assert caught.value.field == "task_settings/stride"
    short = Rows({**long.texts, "context": ["w6", "w6 w7"]}, long.labels)
    assert predicted(supernet, prepared(supernet, short))[0] == "w6"


def test_a_context_without_words_has_no_answer(supernet: Supernet):
    empty = Rows({"question": ["w5"], "context": [" "]}, np.array(["[]"], dtype=object))
    assert predicted(supernet, prepared(supernet, empty)) == [""]


@pytest.mark.parametrize("family", [BERT, ROBERTA, DISTILBERT], ids=lambda each: each.model_type)
def test_an_adapter_brings_the_head(family: Family, tmp_path: Path):
    """As `PeftModelForQuestionAnswering` writes it; its own export is read by PEFT again."""
    written = write_asked(tmp_path / "c", family)
    expected = read_supernet(written)
    move_head(written)
    supernet = read_supernet(written)
    assert supernet.task_head.kind is HeadKind.SPANS
    assert supernet.num_labels == 2
    assert set(supernet.head_tensors) == {"qa_outputs.weight", "qa_outputs.bias"}
    ids = {"input_ids": torch.tensor([[2, 7, 8, 3, 9, 10, 3]])}
    found, known = (activate(s, s.space.maximal).logits(ids) for s in (supernet, expected))
    assert found.shape == (1, 7, 2)
    assert torch.equal(found, known)
    (tmp_path / "peft").mkdir()
    card = SubnetCard(
        supernet_name="tiny",
        dataset_name="words",
        dataset_rows=1,
        search_id="s",
        number=1,
        metrics={},
        cost={},
        max_length=LENGTH,
    )
    write_peft_adapter(supernet, supernet.space.maximal, card, tmp_path / "peft")
    base = AutoModelForQuestionAnswering.from_pretrained(written / "base")
    model = peft.PeftModel.from_pretrained(base, tmp_path / "peft")
    assert isinstance(model, peft.PeftModelForQuestionAnswering)
    with torch.inference_mode():
        output = model(**ids)
    both = torch.stack((output.start_logits, output.end_logits), dim=-1)
    torch.testing.assert_close(both, found, rtol=1e-4, atol=1e-4)
    readme = (tmp_path / "peft" / "README.md").read_text()
    assert "pipeline_tag: question-answering" in readme
    assert "AutoModelForQuestionAnswering" in readme


def test_a_head_for_another_number_is_refused(tmp_path: Path):
    written = write_asked(tmp_path / "c", BERT)
    file = written / "base" / "model.safetensors"
    tensors = load_file(file)
    save_file({**tensors, "qa_outputs.weight": tensors["qa_outputs.weight"][:1].clone()}, file)
    with pytest.raises(InputError, match=r"qa_outputs\.weight"):
        read_supernet(written)


@pytest.mark.parametrize("task_type", ["SEQ_CLS", "CAUSAL_LM", "TOKEN_CLS"])
def test_an_adapter_of_another_task_is_refused(tmp_path: Path, task_type: str):
    written = write_asked(tmp_path / "c", BERT)
    config = written / "adapter" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "task_type": task_type}))
    with pytest.raises(InputError, match="task_type"):
        read_supernet(written)


def test_a_base_of_another_head_is_refused(tmp_path: Path):
    """Its tensors have the name of starts and ends, and its class says something else."""
    written = write_asked(tmp_path / "c", BERT)
    config = written / "base" / "config.json"
    said = {**json.loads(config.read_text()), "architectures": ["BertForMultiSpan"]}
    config.write_text(json.dumps(said))
    with pytest.raises(InputError, match="BertForMultiSpan"):
        read_supernet(written)
