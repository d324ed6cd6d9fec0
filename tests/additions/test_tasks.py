"""A task of one's own, in one file, keeps the contract and is measured on a decoder."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from elasticnas.supernet.contracts.checkpoints import VOCABULARY
from elasticnas.supernet.forward.prefixes import PrefixCache
from elasticnas.supernet.measuring.confidence import scores, verified
from elasticnas.supernet.measuring.examples import TokenizedExamples
from elasticnas.tasks.contracts import TaskContract
from elasticnas.worker.evaluator import SubnetAsked, SupernetEvaluator
from tests.additions.task_perplexity import TASK
from tests.additions.test_families import TestSeedOss as SeedOss

RNG = np.random.default_rng(0)


class TestPerplexity(TaskContract):
    task = TASK
    raw = np.stack([RNG.gamma(20.0, size=30), RNG.integers(3, 20, size=30)], axis=1)
    labels = np.zeros(30, np.int64)


@pytest.fixture
def evaluator():
    lengths = RNG.integers(3, 12, size=25)
    examples = TokenizedExamples(
        token_ids=[RNG.integers(3, VOCABULARY, size=length).tolist() for length in lengths],
        type_ids=None,
        labels=torch.zeros(len(lengths), dtype=torch.int64),
        pad_id=0,
        max_length=12,
    )
    with SeedOss().supernet() as supernet:
        yield SupernetEvaluator(supernet, TASK, examples, 64, PrefixCache(2**20))


def measured(evaluator: SupernetEvaluator, subnet: dict[str, int], *, share: bool = True):
    return evaluator.measure(SubnetAsked(subnet), lambda: False, share=share)


def test_the_perplexity_of_a_decoder_is_that_of_its_own_loss(evaluator: SupernetEvaluator):
    """Of the maximal subnet with its adapters merged, row by row and without padding."""
    supernet = evaluator.supernet
    model = copy.deepcopy(supernet.model)
    with torch.inference_mode():
        for name, adapter in supernet.adapters.items():
            model.get_submodule(name).weight += adapter.scaling * adapter.b @ adapter.a
        losses = [
            model(input_ids=ids, labels=ids).loss * (ids.shape[1] - 1)
            for ids in (torch.tensor([row]) for row in evaluator.examples.token_ids)
        ]
    tokens = sum(len(row) - 1 for row in evaluator.examples.token_ids)
    expected = torch.exp(torch.stack(losses).sum() / tokens).item()
    found = measured(evaluator, {})
    assert found.metrics == {"perplexity": pytest.approx(expected, rel=1e-5)}
    assert found.outcomes is not None
    assert found.outcomes["tokens"].tolist() == [len(r) - 1 for r in evaluator.examples.token_ids]


def test_a_decoders_subnets_are_verified_against_the_maximal_one(evaluator: SupernetEvaluator):
    space = evaluator.supernet.space
    maximal, minimal = (measured(evaluator, dict(each)) for each in (space.maximal, space.minimal))
    assert maximal.metrics != minimal.metrics
    of_maximal, of_minimal = (scores(TASK, each.outcomes) for each in (maximal, minimal))
    found = verified(evaluator.rows, of_minimal, of_maximal)
    interval = found.metrics["perplexity"]
    assert 1 < interval.low < interval.value < interval.high
    difference = found.versus_maximal["perplexity"].value
    assert difference == minimal.metrics["perplexity"] - maximal.metrics["perplexity"]


def test_batches_of_half_the_tokens_measure_the_same(evaluator: SupernetEvaluator):
    before = measured(evaluator, {}, share=False).metrics
    assert evaluator.halve_batches()
    after = measured(evaluator, {}, share=False).metrics
    assert after == {"perplexity": pytest.approx(before["perplexity"], rel=1e-5)}
