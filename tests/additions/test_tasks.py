"""A task of one's own, in one file, keeps the contract and is measured on a decoder."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from transformers import Qwen2Tokenizer

from elasticnas.supernet.forward.prefixes import PrefixCache
from elasticnas.supernet.measuring.confidence import scores, verified
from elasticnas.supernet.measuring.probes import PROBES
from elasticnas.tasks.contracts import TaskContract
from elasticnas.tasks.rows import Rows
from elasticnas.tasks.settings import PromptSettings
from elasticnas.worker.evaluator import SubnetAsked, SupernetEvaluator
from tests.additions.task_bits_per_byte import TASK
from tests.additions.test_families import TestSeedOss as SeedOss

RNG = np.random.default_rng(0)
LETTERS = "abcdefghijklmnop"
TOKENIZER = Qwen2Tokenizer(
    vocab={word: number for number, word in enumerate(["<|endoftext|>", *LETTERS])}, merges=[]
)
SETTINGS = PromptSettings(prompt="{text}")
TEXTS = [
    "".join(LETTERS[place] for place in RNG.integers(len(LETTERS), size=length))
    for length in RNG.integers(3, 12, size=25)
]


class TestBitsPerByte(TaskContract):
    task = TASK
    raw = np.stack([-RNG.gamma(20.0, size=30), RNG.integers(3, 20, size=30)], axis=1)
    labels = RNG.integers(8, 60, size=30)


@pytest.fixture
def evaluator() -> Iterator[SupernetEvaluator]:
    rows = Rows({"text": TEXTS}, np.zeros(len(TEXTS), np.int64))
    with SeedOss().supernet() as supernet:
        examples = PROBES[TASK.probe].prepare(rows, TASK, SETTINGS, TOKENIZER, supernet, 16)
        cache = PrefixCache(2**20)
        yield SupernetEvaluator(supernet, TASK, examples, 64, cache, settings=SETTINGS)


def measured(evaluator: SupernetEvaluator, subnet: dict[str, int], *, share: bool = True):
    return evaluator.measure(SubnetAsked(subnet), lambda: False, share=share)


def test_the_bits_of_a_decoder_are_those_of_its_own_loss(evaluator: SupernetEvaluator):
    """Of the maximal subnet with its adapters merged, row by row and without padding."""
    supernet = evaluator.supernet
    model = copy.deepcopy(supernet.model)
    nats = 0.0
    with torch.inference_mode():
        for name, adapter in supernet.adapters.items():
            model.get_submodule(name).weight += adapter.scaling * adapter.b @ adapter.a
        for text in TEXTS:
            ids = torch.tensor([TOKENIZER(text)["input_ids"]])
            nats += float(model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
    expected = nats / math.log(2) / sum(len(text.encode()) for text in TEXTS)
    found = measured(evaluator, {})
    assert found.metrics == {"bits_per_byte": pytest.approx(expected, rel=1e-5)}


def test_a_decoders_subnets_are_verified_against_the_maximal_one(evaluator: SupernetEvaluator):
    space = evaluator.supernet.space
    maximal, minimal = (measured(evaluator, dict(each)) for each in (space.maximal, space.minimal))
    assert maximal.metrics != minimal.metrics
    of_maximal, of_minimal = (scores(TASK, each.outcomes) for each in (maximal, minimal))
    found = verified(evaluator.rows, of_minimal, of_maximal)
    interval = found.metrics["bits_per_byte"]
    assert 0 < interval.low < interval.value < interval.high
    difference = found.versus_maximal["bits_per_byte"].value
    assert difference == minimal.metrics["bits_per_byte"] - maximal.metrics["bits_per_byte"]


def test_batches_of_half_the_tokens_measure_the_same(evaluator: SupernetEvaluator):
    before = measured(evaluator, {}, share=False).metrics
    assert evaluator.halve_batches()
    after = measured(evaluator, {}, share=False).metrics
    assert after == {"bits_per_byte": pytest.approx(before["bits_per_byte"], rel=1e-5)}
