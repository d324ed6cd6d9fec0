"""Parity with the original LoNAS, Shears and SQFT on language models that they trained."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.formats.elasticnas import elastic_part
from elasticnas.supernet.formats.space_file import read_space, space_file
from elasticnas.supernet.forward.activation import activate, active_tensors
from elasticnas.supernet.forward.joining import joined_for
from elasticnas.supernet.forward.prefixes import PrefixCache
from elasticnas.supernet.measuring.examples import Examples
from elasticnas.supernet.measuring.generation import prepare, write_texts
from elasticnas.supernet.measuring.measure import laps_of, measure, predict
from elasticnas.supernet.measuring.probes import PROBES
from elasticnas.supernet.measuring.trees import TreeExamples
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import GENERATION, MULTIPLE_CHOICE, PERPLEXITY_TASK
from elasticnas.tasks.beam_length import BeamLength
from elasticnas.tasks.generation import GenerationSettings
from elasticnas.tasks.items import windows
from elasticnas.tasks.multiple_choice import MultipleChoiceSettings
from elasticnas.tasks.perplexity import LABEL
from elasticnas.tasks.rows import Rows
from elasticnas.tasks.settings import TaskSettings
from tests.supernet import causal
from tests.supernet.published import BASES, published, references, subnet_of

BEGINNING, END_OF_TEXT = 1, 2
NAMED = ("max", "min", "heuristic")
SUBNETS = [
    pytest.param(NAMED, False, id="named"),
    pytest.param(("heuristic",), True, id="heuristic-beside"),
    pytest.param(None, False, id="all", marks=pytest.mark.slow),
    pytest.param(None, True, id="all-beside", marks=pytest.mark.slow),
]
"""Names of subnets, None for all; and whether adapters run beside their layers."""
LONGEST = 256
TOKEN_BUDGET = 4096
WINDOW, WINDOWS = 127, 16
PROMPTS = {"textkind": "Text: {sentence1}\nKind:", "arc_easy": "Question: {sentence1}\nAnswer:"}


@dataclass(frozen=True)
class Trained:
    """A published super-network in float32, and what its original reports of some subnets."""

    name: str
    supernet: Supernet
    references: list[dict[str, Any]]

    def where(
        self, key: str, names: Collection[str] | None = None
    ) -> list[tuple[SubnetConfig, dict[str, Any]]]:
        """The subnets of these names, of which this is reported."""
        return [
            (subnet_of(self.supernet, reference), reference)
            for reference in self.references
            if key in reference and (names is None or reference["name"] in names)
        ]

    @cached_property
    def beside(self) -> Supernet:
        """The same with its adapters beside their layers, where they may be."""
        return joined_for(self.supernet, tokens=1, limit_bytes=0)


@pytest.fixture(scope="module", params=BASES)
def trained(
    request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    supernet = published(shared_data, request.param, tmp_path_factory.mktemp("published"))
    in_float32 = supernet.to(torch.device("cpu"), torch.float32)
    return Trained(request.param, in_float32, references(shared_data, request.param))


def validation(data: Path, name: str) -> list[dict[str, Any]]:
    text = (data / name / "validation.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def textkind(shared_data: Path) -> list[dict[str, Any]]:
    return validation(shared_data, "textkind")


def digest(predictions: Iterable[int]) -> str:
    """As references have it of predictions written one after another."""
    return sha256("".join(map(str, predictions)).encode()).hexdigest()[:16]


def test_the_method_is_told_by_the_file_that_says_what_is_elastic(trained: Trained):
    assert trained.supernet.method == trained.name.partition("-")[0]
    assert trained.supernet.reference_length == 128


def test_the_named_subnets_are_the_originals(trained: Trained):
    space = trained.supernet.space
    named = {reference["name"]: subnet for subnet, reference in trained.where("name")}
    assert named["max"] == space.maximal
    assert named["min"] == space.minimal
    assert named["heuristic"] == space.heuristic


def test_the_space_can_be_written_as_a_space_file_and_read_again(trained: Trained, tmp_path: Path):
    supernet = trained.supernet
    file = tmp_path / "search_space.json"
    written = space_file(supernet.space, supernet.plan, supernet.reference_length)
    file.write_text(written.model_dump_json(exclude_defaults=True))
    again = elastic_part(read_space(file), supernet.shape)
    assert again.space == supernet.space
    assert set(again.plan.cuts) == set(supernet.plan.cuts)


def test_generated_texts_are_the_originals(trained: Trained, textkind: list[dict[str, Any]]):
    """Beam search as the Transformers of each original has it: 4.31 divides by another length."""
    supernet, tokenizer = trained.supernet, load_tokenizer(trained.supernet)
    is_older = supernet.method in ("lonas", "shears")
    rule = BeamLength.PROMPT_AND_ANSWER if is_older else BeamLength.ANSWER
    compared = 0
    for subnet, reference in trained.where("generation"):
        expected = reference["generation"]
        settings = GenerationSettings(
            prompt=PROMPTS["textkind"],
            beams=expected["beams"],
            max_new_tokens=expected["max_new_tokens"],
            beam_length=rule,
        )
        data = textkind[: expected["n"]]
        kinds = [row["choices"][row["label"]] for row in data]
        texts = {"sentence1": [row["sentence1"] for row in data]}
        examples = prepare(
            Rows(texts, np.array(kinds, dtype=object)),
            GENERATION,
            settings,
            tokenizer,
            supernet,
            LONGEST,
        )
        with torch.inference_mode():
            active = activate(supernet, subnet)
            written = write_texts(active, examples.batch(range(len(data))))
        assert [text.strip() for text in written] == expected["texts"]
        laps = laps_of(examples, None, supernet, token_budget=64)
        found = measure(supernet, subnet, laps, examples.labels, GENERATION, settings=settings)
        assert found.metrics == {"exact_match": expected["correct"] / expected["n"]}
        compared += 1
    assert compared > 2


def test_sparsepeft_keeps_every_zero_of_the_base(trained: Trained):
    """Half of every row of the blocks' linear layers, as the original's merge keeps them."""
    supernet = trained.supernet
    merged = trained.where("merged_sparsity")
    assert bool(merged) is ("sparsepeft" in trained.name)
    linear = [name for name in supernet.tensors if name.endswith("_proj.weight")]
    for subnet, reference in merged:
        active = active_tensors(supernet, subnet)
        weights = [active.get(name, supernet.tensors[name]) for name in linear]
        zeros = sum(int((weight == 0).sum()) for weight in weights)
        sparsity = zeros / sum(weight.numel() for weight in weights)
        assert sparsity == 0.5 == reference["merged_sparsity"]
        assert any(not torch.equal(active[name], supernet.tensors[name]) for name in active)


def choices(trained: Trained, data: Path, name: str, rows: int) -> tuple[Examples, TaskSettings]:
    """The first rows of a multiple-choice dataset, with the prompt that its reference is for."""
    read = validation(data, name)[:rows]
    columns = Rows(
        {"sentence1": [row["sentence1"] for row in read]},
        np.array([row["label"] for row in read], np.int64),
        [row["choices"] for row in read],
    )
    settings = MultipleChoiceSettings(prompt=PROMPTS[name])
    prepare = PROBES[MULTIPLE_CHOICE.probe].prepare
    tokenizer = load_tokenizer(trained.supernet)
    made = prepare(columns, MULTIPLE_CHOICE, settings, tokenizer, trained.supernet, LONGEST)
    return made, settings


@pytest.mark.parametrize(("which", "is_beside"), SUBNETS)
@pytest.mark.parametrize("name", PROMPTS)
def test_choices_and_their_likelihoods_are_the_originals(
    trained: Trained, shared_data: Path, name, which, is_beside
):
    """Every prediction, by the sum and by character; the means, and single sums where reported."""
    subnets = trained.where(name, which)
    rows = subnets[0][1][name]["n"]
    made, settings = choices(trained, shared_data, name, rows)
    supernet = trained.beside if is_beside else trained.supernet
    cache = PrefixCache(2**26)
    laps = laps_of(made, None, supernet, token_budget=TOKEN_BUDGET, cache=cache)
    for subnet, reference in subnets:
        expected = reference[name]
        found = measure(supernet, subnet, laps, made.labels, MULTIPLE_CHOICE, settings=settings)
        assert found.metrics is not None
        assert found.outcomes is not None
        assert found.metrics["acc"] * rows == pytest.approx(expected["correct"])
        assert found.metrics["acc_norm"] * rows == pytest.approx(expected["correct_norm"])
        gold = found.metrics["mean_log_likelihood"]
        assert gold == pytest.approx(expected["mean_ll_gold"], abs=1e-4)
        assert digest(found.outcomes["likeliest"]) == expected["pred_sha"]
        assert digest(found.outcomes["likeliest_norm"]) == expected["pred_norm_sha"]
        listed = reference.get("log_likelihoods", {}).get(name, [])
        sums = log_likelihoods(supernet, subnet, made.select(range(len(listed))))
        for row, sums_of_row in enumerate(listed):
            assert sums[row, : len(sums_of_row)].tolist() == pytest.approx(sums_of_row, abs=1e-4)


def log_likelihoods(supernet: Supernet, subnet: SubnetConfig, made: Examples) -> torch.Tensor:
    """The sum of each choice of these rows, shape (rows, choices)."""
    if not len(made):
        return torch.empty(0, 0)
    batches, run = made.batches(TOKEN_BUDGET), PROBES[MULTIPLE_CHOICE.probe].run
    with torch.inference_mode():
        return predict(activate(supernet, subnet), batches, rows=len(made), run=run)


@pytest.mark.parametrize(("which", "is_beside"), SUBNETS)
def test_the_likelihood_of_a_long_text_is_the_originals(
    trained: Trained, shared_data: Path, which, is_beside
):
    """Questions of GSM8K one behind another, in windows that begin anew."""
    tokenizer = load_tokenizer(trained.supernet)
    length = WINDOW * WINDOWS
    tokens: list[int] = []
    for row in validation(shared_data, "gsm8k"):
        tokens += [*tokenizer(row["sentence1"], add_special_tokens=False).input_ids, END_OF_TEXT]
        if len(tokens) >= length:
            break
    text = windows(tokens[:length], [BEGINNING], WINDOW)
    made = TreeExamples.of([text], np.ones(1, LABEL), pad_id=0, shares=False)
    supernet = trained.beside if is_beside else trained.supernet
    laps = laps_of(made, None, supernet, token_budget=TOKEN_BUDGET)
    for subnet, reference in trained.where("gsm8k_text", which):
        expected = reference["gsm8k_text"]
        found = measure(supernet, subnet, laps, made.labels, PERPLEXITY_TASK)
        assert found.metrics is not None
        assert found.outcomes is not None
        assert found.outcomes["tokens"].tolist() == [expected["tokens"]]
        mean = found.metrics["token_log_likelihood"]
        assert mean == pytest.approx(expected["mean_ll"], abs=1e-4)


@pytest.mark.parametrize("name", [name for name in BASES if not name.startswith("lonas")])
def test_an_extracted_adapter_is_the_originals_heuristic_subnet(
    shared_data: Path, tmp_path: Path, name
):
    """All ranks are 12 of 16 there, and the extractor's config still says 16."""
    [reference] = [r for r in references(shared_data, name) if r["name"] == "heuristic"]
    published(shared_data, name, tmp_path)
    supernet = read_supernet(causal.extracted(tmp_path, 12)).to(torch.device("cpu"), torch.float32)
    assert {dimension.choices for dimension in supernet.space.dimensions} == {(12, 8)}
    trained, expected = Trained(name, supernet, [reference]), reference["textkind"]
    made, settings = choices(trained, shared_data, "textkind", expected["n"])
    laps = laps_of(made, None, supernet, token_budget=TOKEN_BUDGET)
    maximal = supernet.space.maximal
    found = measure(supernet, maximal, laps, made.labels, MULTIPLE_CHOICE, settings=settings)
    assert found.outcomes is not None
    assert digest(found.outcomes["likeliest"]) == expected["pred_sha"]
    gold = found.outcomes["log_likelihood"].mean()
    assert gold == pytest.approx(expected["mean_ll_gold"], abs=1e-4)
