"""Continuations scored together are scored as the stock model scores each by itself."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch

from elasticnas.api_schemas.problems import InputError
from elasticnas.search.races.course import Course, pack
from elasticnas.supernet.checkpoint.reader import load_tokenizer
from elasticnas.supernet.contracts.checkpoints import VOCABULARY
from elasticnas.supernet.contracts.families import FamilyContract
from elasticnas.supernet.families.llama import LLAMA
from elasticnas.supernet.forward.activation import active_tensors
from elasticnas.supernet.forward.prefixes import PrefixCache
from elasticnas.supernet.measuring import batching, trees
from elasticnas.supernet.measuring.batching import batches_for
from elasticnas.supernet.measuring.encoder import TokenizerEncoder
from elasticnas.supernet.measuring.measure import Lap, laps_of, measure
from elasticnas.supernet.measuring.probes import PROBES
from elasticnas.supernet.measuring.trees import TokenTree, TreeBatch, TreeExamples
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import MULTIPLE_CHOICE, PERPLEXITY_TASK, Task
from elasticnas.tasks.items import Item, Scored
from elasticnas.tasks.multiple_choice import MultipleChoiceSettings
from elasticnas.tasks.perplexity import PerplexitySettings
from elasticnas.tasks.rows import Rows
from elasticnas.worker.evaluator import SubnetAsked, SupernetEvaluator

ROWS = 24
LENGTH = 40


class Llama(FamilyContract):
    family = LLAMA


def words(rng: np.random.Generator, fewest: int, most: int) -> str:
    picked = rng.integers(5, VOCABULARY - 8, size=rng.integers(fewest, most + 1))
    return " ".join(f"w{word}" for word in picked)


def rows() -> Rows:
    """Questions with two to four choices, of which some begin alike."""
    rng = np.random.default_rng(3)
    questions = [words(rng, 1, 9) for _ in range(ROWS)]
    starts = [words(rng, 1, 2) for _ in range(ROWS)]
    choices = [
        [f"{starts[row]} {words(rng, 1, 3)}", f"{starts[row]} {words(rng, 4, 4)}"]
        + [words(rng, 1, 2) for _ in range(row % 3)]
        for row in range(ROWS)
    ]
    return Rows({"question": questions}, rng.integers(2, size=ROWS), choices)


SETTINGS = MultipleChoiceSettings(prompt="w5 {question} w6")


@pytest.fixture(scope="module")
def supernet() -> Iterator[Supernet]:
    with Llama().supernet() as supernet:
        yield supernet


def examples(
    supernet: Supernet, task: Task, settings: Any, data: Rows | None = None, length: int = LENGTH
) -> TreeExamples:
    prepare = PROBES[task.probe].prepare
    made = prepare(data or rows(), task, settings, load_tokenizer(supernet), supernet, length)
    assert isinstance(made, TreeExamples)
    return made


def items(supernet: Supernet, task: Task, settings: Any, length: int = LENGTH) -> list[Item]:
    return task.items(rows(), settings, TokenizerEncoder(load_tokenizer(supernet)), length)


def raw_numbers(supernet: Supernet, subnet: Any, task: Task, made: TreeExamples, budget: int = 200):
    """What the probe gives, in the order of the rows."""
    kept: dict[str, np.ndarray] = {}

    class Spy(type(task)):  # type: ignore[misc]
        def outcomes(self, raw: Any, labels: Any, settings: Any) -> Any:
            kept["raw"] = raw
            return super().outcomes(raw, labels, settings)

    measure(supernet, subnet, [Lap.whole(made.batches(budget))], made.labels, Spy())
    return kept["raw"]


def plain(supernet: Supernet, subnet: Any, sequence: Scored) -> float:
    """One sequence through the stock model with sliced, merged weights; all blocks run."""
    model = copy.deepcopy(supernet.model)
    for name, tensor in active_tensors(supernet, subnet).items():
        parent, _, leaf = name.rpartition(".")
        module = model.get_submodule(parent)
        setattr(module, leaf, torch.nn.Parameter(tensor))
    ids = torch.tensor([sequence.tokens])
    with torch.inference_mode():
        chances = model(input_ids=ids).logits[0].log_softmax(-1)
    at = range(sequence.first, len(sequence.tokens))
    return float(sum(chances[place - 1, sequence.tokens[place]] for place in at))


def test_choices_are_scored_as_each_alone(supernet: Supernet):
    made = examples(supernet, MULTIPLE_CHOICE, SETTINGS)
    raw = raw_numbers(supernet, supernet.space.maximal, MULTIPLE_CHOICE, made)
    for row, item in enumerate(items(supernet, MULTIPLE_CHOICE, SETTINGS)):
        expected = [plain(supernet, supernet.space.maximal, each) for each in item]
        assert raw[row, : len(item)] == pytest.approx(expected, abs=1e-3)
        assert (raw[row, len(item) :] == 0).all()


def test_what_begins_alike_is_run_once(supernet: Supernet):
    made = examples(supernet, MULTIPLE_CHOICE, SETTINGS)
    for row, item in enumerate(items(supernet, MULTIPLE_CHOICE, SETTINGS)):
        distinct = {each.tokens[:end] for each in item for end in range(1, len(each.tokens))}
        assert made.length(row) == len(distinct)
    batches = made.batches(200)
    assert all(batch.inputs["input_ids"].numel() <= 200 for batch in batches)


def test_a_tree_sees_its_own_branch_alone():
    tree = TokenTree.of((Scored((1, 2, 3, 4), 2), Scored((1, 2, 5), 2), Scored((9, 3, 7), 1)))
    ancestors = [
        [j for j in range(len(tree.tokens)) if j <= i < tree.ends[j]]
        for i in range(len(tree.tokens))
    ]
    assert [[int(tree.tokens[j]) for j in each] for each in ancestors] == [
        [1], [1, 2], [1, 2, 3], [9], [9, 3],
    ]  # fmt: skip
    assert tree.depths.tolist() == [len(each) - 1 for each in ancestors]
    assert [len(each) for each in tree.sums] == [2, 1, 2]


def test_a_family_that_takes_no_masks_scores_alike(supernet: Supernet):
    made = examples(supernet, MULTIPLE_CHOICE, SETTINGS)
    apart = TreeExamples.of(
        items(supernet, MULTIPLE_CHOICE, SETTINGS), made.labels, pad_id=0, shares=False
    )
    assert all("subtree_ends" not in batch.inputs for batch in apart.batches(200))
    together, alone = (
        raw_numbers(supernet, supernet.space.minimal, MULTIPLE_CHOICE, each)
        for each in (made, apart)
    )
    assert together == pytest.approx(alone, abs=1e-3)


@pytest.mark.parametrize("budget", [1, 30, 10_000], ids=["a row each", "some", "all in one"])
def test_single_sequences_read_the_same_when_they_lie_end_to_end(supernet: Supernet, budget: int):
    """Choices each behind a context of its own, and windows of texts, some longer than a pack."""
    labels = MULTIPLE_CHOICE.labels(rows(), SETTINGS)
    asked = items(supernet, MULTIPLE_CHOICE, SETTINGS)
    apart = TreeExamples.of(asked, labels, pad_id=0, shares=False)
    windows = examples(
        supernet, PERPLEXITY_TASK, PerplexitySettings(prompt="{question} {question}", window=7)
    )
    for task, padded in ((MULTIPLE_CHOICE, apart), (PERPLEXITY_TASK, windows)):
        packed = replace(padded, packed=True)
        batches = packed.batches(budget)
        tokens = sum(len(tree.tokens) for each in padded.trees for tree in each)
        assert sum(batch.tokens for batch in batches) == tokens
        assert all(
            batch.tokens <= budget or len(set(batch.rows.tolist())) == 1 for batch in batches
        )
        expected, found = (
            raw_numbers(supernet, supernet.space.minimal, task, each, budget)
            for each in (padded, packed)
        )
        assert found == pytest.approx(expected, abs=1e-3)


def test_sequences_are_packed_where_there_is_a_kernel_and_trees_are_not(
    supernet: Supernet, monkeypatch: pytest.MonkeyPatch
):
    shared = examples(supernet, MULTIPLE_CHOICE, SETTINGS)
    windows = examples(
        supernet, PERPLEXITY_TASK, PerplexitySettings(prompt="{question} {question}", window=7)
    )

    def packed(made: TreeExamples) -> set[bool]:
        return {"packing" in batch.inputs for batch in batches_for(supernet, made, 200)}

    assert packed(windows) == {False}
    monkeypatch.setattr(batching, "has_kernel", lambda *_: True)
    assert (packed(shared), packed(windows)) == ({False}, {True})
    unable = replace(supernet, family=replace(supernet.family, attends_by_interface=False))
    assert {"packing" in batch.inputs for batch in batches_for(unable, windows, 200)} == {False}


def test_a_row_whose_mask_would_fill_memory_is_no_tree(
    supernet: Supernet, monkeypatch: pytest.MonkeyPatch
):
    made = examples(supernet, MULTIPLE_CHOICE, SETTINGS)
    lengths = sorted(len(tree.tokens) for (tree,) in made.trees)
    monkeypatch.setattr(trees, "LONGEST_TREE", lengths[len(lengths) // 2])
    some = examples(supernet, MULTIPLE_CHOICE, SETTINGS)
    assert {len(each) == 1 for each in some.trees} == {True, False}
    tree, mixed = (
        raw_numbers(supernet, supernet.space.minimal, MULTIPLE_CHOICE, each)
        for each in (made, some)
    )
    assert mixed == pytest.approx(tree, abs=1e-3)


def test_a_subnet_that_starts_from_anothers_prefix_gives_the_same_bits(supernet: Supernet):
    made = examples(supernet, MULTIPLE_CHOICE, SETTINGS)
    space = supernet.space
    first = dict(space.maximal)
    last = f"ffn of layer {supernet.num_layers - 1}"
    second = space.subnet({**first, last: space.minimal[last]})
    cache = PrefixCache(2**24)
    laps = laps_of(made, None, supernet, token_budget=200, cache=cache)
    for subnet in (space.maximal, second):
        shared = measure(supernet, subnet, laps, made.labels, MULTIPLE_CHOICE)
        alone = measure(supernet, subnet, laps, made.labels, MULTIPLE_CHOICE, share=False)
        assert shared.outcomes is not None
        assert alone.outcomes is not None
        assert (shared.outcomes == alone.outcomes).all()
    assert cache.held_bytes > 0


def test_batches_of_half_the_tokens_measure_the_same(supernet: Supernet):
    """As they are made when memory runs out, down to single rows."""
    made = examples(supernet, MULTIPLE_CHOICE, SETTINGS)
    evaluator = SupernetEvaluator(
        supernet, MULTIPLE_CHOICE, made, 400, PrefixCache(0), settings=SETTINGS
    )
    asked = SubnetAsked(dict(supernet.space.minimal))
    before = evaluator.measure(asked, lambda: False, share=False).metrics
    while evaluator.halve_batches():
        assert evaluator.measure(asked, lambda: False, share=False).metrics == pytest.approx(before)
    assert sum(len(lap.batches) for lap in evaluator.laps) == ROWS


def test_laps_of_a_race_measure_what_one_lap_does(supernet: Supernet):
    made = examples(supernet, MULTIPLE_CHOICE, SETTINGS)
    rng = np.random.default_rng(0)
    course = Course.laid_by([pack(rng.random(ROWS) < 0.5) for _ in range(8)])
    whole, parts = (
        measure(
            supernet,
            supernet.space.heuristic,
            laps_of(made, each, supernet, token_budget=200),
            made.labels,
            MULTIPLE_CHOICE,
        ).metrics
        for each in (None, course)
    )
    assert parts == pytest.approx(whole, abs=1e-4)


def test_long_contexts_lose_their_beginning_and_choices_nothing(supernet: Supernet):
    whole = items(supernet, MULTIPLE_CHOICE, SETTINGS)
    cut = items(supernet, MULTIPLE_CHOICE, SETTINGS, length=7)
    for before, after in zip(whole, cut, strict=True):
        for long, short in zip(before, after, strict=True):
            assert short.tokens == long.tokens[-8:]
            assert short.count == long.count


def test_perplexity_is_that_of_the_models_own_loss_window_by_window(supernet: Supernet):
    settings = PerplexitySettings(prompt="{question} {question}", window=5)
    made = examples(supernet, PERPLEXITY_TASK, settings)
    tokenizer = load_tokenizer(supernet)
    space = supernet.space
    blocks = {each.name: each.choices[0] for each in space.dimensions if each.part == "blocks"}
    subnet = space.subnet({**space.minimal, **blocks})
    loss = tokens = 0.0
    data = rows()
    for row in range(ROWS):
        ids = tokenizer(settings.context(data.row(row)), add_special_tokens=False)["input_ids"]
        for start in range(0, len(ids), 5):
            window = (tokenizer.cls_token_id, *ids[start : start + 5])
            loss -= plain(supernet, subnet, Scored(window, 1))
            tokens += len(window) - 1
    laps = [Lap.whole(made.batches(100))]
    found = measure(supernet, subnet, laps, made.labels, PERPLEXITY_TASK)
    assert found.metrics is not None
    assert found.metrics["token_log_likelihood"] == pytest.approx(-loss / tokens, abs=1e-4)
    assert found.metrics["perplexity"] == pytest.approx(np.exp(loss / tokens), rel=1e-4)


def test_an_empty_text_loses_nothing_and_its_word_counts(supernet: Supernet):
    """As in lm-eval, where what white space parts an empty text into is one word."""
    told = PerplexitySettings(prompt="{question}")
    full = Rows({"question": ["w5 w6", "w7 w8 w9"]}, np.zeros(2, np.int64))
    some = Rows({"question": ["", "w5 w6", "w7 w8 w9", ""]}, np.zeros(4, np.int64))
    found = []
    for data in (full, some):
        made = examples(supernet, PERPLEXITY_TASK, told, data)
        laps = [Lap.whole(made.batches(6))]
        found.append(
            measure(supernet, supernet.space.maximal, laps, made.labels, PERPLEXITY_TASK).metrics
        )
    without, beside = found
    for name in ("token_log_likelihood", "byte_perplexity"):
        assert beside[name] == pytest.approx(without[name], rel=1e-5)
    assert np.log(beside["word_perplexity"]) * 7 == pytest.approx(
        np.log(without["word_perplexity"]) * 5, rel=1e-5
    )


def test_a_row_that_cannot_be_scored_is_named_as_its_owner_counts(supernet: Supernet):
    texts = ["w5 w6", "w7 w8", "w9", "w5"]
    data = Rows({"question": texts}, np.zeros(4, np.int64)).select([1, 2]).select([0, 1])
    told = PerplexitySettings(prompt="{question}", add_bos=False)
    with pytest.raises(InputError, match="no token that could be scored") as caught:
        examples(supernet, PERPLEXITY_TASK, told, data)
    assert caught.value.field == "row 3"


def test_the_head_computes_no_logit_that_is_not_scored(supernet: Supernet):
    """Of one place each, the scored ones: the same numbers as of the whole sequence."""
    from elasticnas.supernet.forward.activation import activate

    made = examples(supernet, MULTIPLE_CHOICE, SETTINGS)
    batch = made.batch(range(6))
    with torch.inference_mode():
        active = activate(supernet, supernet.space.minimal)
        everywhere = active.logits(batch.inputs)
        there = active.logits(batch.inputs, at=batch.at)
    assert there.shape == (len(batch.at), everywhere.shape[-1])
    assert torch.allclose(there, everywhere.flatten(0, 1)[batch.at], atol=1e-5)


def test_a_text_longer_than_a_batch_is_taken_apart_and_summed(supernet: Supernet):
    """In batches of one window each, down to which batches can be halved."""
    settings = PerplexitySettings(prompt="{question} {question}", window=3)
    made = examples(supernet, PERPLEXITY_TASK, settings)
    evaluator = SupernetEvaluator(
        supernet, PERPLEXITY_TASK, made, 1000, PrefixCache(2**20), settings=settings
    )
    asked = SubnetAsked(dict(supernet.space.minimal))
    before = evaluator.measure(asked, lambda: False, share=False).metrics
    assert before is not None
    while evaluator.halve_batches():
        pass
    batches = [batch for lap in evaluator.laps for batch in lap.batches]
    assert len(batches) == made.most_batches > ROWS
    assert all(len(batch.inputs["input_ids"]) == 1 for batch in batches)
    # Not windows * windows: of a book in one row that would be gigabytes.
    assert all(cast(TreeBatch, batch).counts.numel() == 1 for batch in batches)
    for share in (True, True, False):
        after = evaluator.measure(asked, lambda: False, share=share).metrics
        assert after == pytest.approx(before, rel=1e-5)
