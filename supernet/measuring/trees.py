"""Continuations scored in one pass: a row's sequences as a tree of tokens.

What the sequences of a row begin with alike, their context above all, is run once. The tokens of
the tree lie end to end in the order of a walk that visits a token before those behind it. A token
attends to its ancestors and itself, and its position is its depth, so it gets what the stock model
gives it in a sequence of its own. (Miao et al. 2024, "SpecInfer", section 4.2, verify speculated
tokens so.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, islice
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.forward.activation import ActiveSubnet
from elasticnas.supernet.forward.packs import Packing
from elasticnas.supernet.measuring.batch_sizes import pack_sizes
from elasticnas.supernet.measuring.encoder import TokenizerEncoder
from elasticnas.supernet.measuring.examples import CPU_BATCH_COST, Batch, Examples, Inputs
from elasticnas.supernet.supernet import Supernet
from elasticnas.supernet.transfer import sent_to
from elasticnas.tasks import Task
from elasticnas.tasks.items import Item
from elasticnas.tasks.rows import Labels, Rows
from elasticnas.tasks.settings import TaskSettings

LOGITS = 2**24
"""Logits that are turned into float32 at once: 64 MB."""
LONGEST_TREE = 2**14
"""Tokens of a tree whose mask, the square of them, still fits into memory: 256 MB."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class TokenTree:
    """The sequences of one row.

    ``tokens``, ``depths`` and ``ends`` have shape (tokens,): token j is an ancestor of token i, or
    i itself, if ``j <= i < ends[j]``. Each of the row's predictions, shape (predictions,), is of a
    token ``foretold`` from what the model gives ``at`` one of the tree. ``sums`` are, for each
    sequence, the predictions that it is scored by.
    """

    tokens: Ints
    depths: Ints
    ends: Ints
    at: Ints
    foretold: Ints
    sums: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, item: Item) -> TokenTree:
        """The tree of these sequences, without their last tokens, which are foretold only."""
        order = sorted(range(len(item)), key=lambda place: item[place].tokens)
        tokens: list[int] = []
        depths: list[int] = []
        path: list[int] = []  # the places of the tokens of the sequence before
        ends: list[int] = []
        predictions: dict[tuple[int, int], int] = {}
        sums: dict[int, tuple[int, ...]] = {}
        for place in order:
            sequence = item[place]
            run = sequence.tokens[:-1]
            shared = 0
            while shared < min(len(path), len(run)) and tokens[path[shared]] == run[shared]:
                shared += 1
            for closed in path[shared:]:
                ends[closed] = len(tokens)
            path = path[:shared]
            for depth, token in enumerate(run[shared:], shared):
                path.append(len(tokens))
                tokens.append(token)
                depths.append(depth)
                ends.append(0)
            sums[place] = tuple(
                predictions.setdefault(
                    (path[position - 1], sequence.tokens[position]), len(predictions)
                )
                for position in range(sequence.first, len(sequence.tokens))
            )
        for closed in path:
            ends[closed] = len(tokens)
        at, foretold = np.array(list(predictions), np.int64).reshape(-1, 2).T
        return cls(
            np.array(tokens),
            np.array(depths),
            np.array(ends),
            at,
            foretold,
            tuple(sums[place] for place in range(len(item))),
        )

    @property
    def is_path(self) -> bool:
        """Whether it is a single sequence, which a causal model needs no mask for."""
        return bool((self.ends == len(self.tokens)).all())


@dataclass(frozen=True)
class TreeBatch(Batch):
    """Trees of some rows, padded, and the predictions that are read off them.

    ``at`` (predictions,) are places in all (trees * tokens) tokens of the batch. ``sums``
    (rows, sequences, longest) are numbers of predictions, and of the zero behind the last one.
    ``counts`` (rows, sequences) are how many each sequence has, 0 where a row has no more.
    """

    at: torch.Tensor
    foretold: torch.Tensor
    sums: torch.Tensor
    counts: torch.Tensor

    def to(self, device: torch.device) -> Self:
        """This batch on ``device``."""
        return replace(
            super().to(device),
            at=sent_to(device, self.at),
            foretold=sent_to(device, self.foretold),
            sums=sent_to(device, self.sums),
            counts=sent_to(device, self.counts),
        )


@dataclass(frozen=True)
class TreeExamples(Examples):
    """Rows of several trees each: one where sequences share, else one for each sequence.

    ``sequences`` is the most that a row has, in all of the dataset. Of rows whose sequences are
    ``summed``, batches may have a part of a row, as a long text of many windows is. Batches are
    ``packed``, which only single sequences can be (`are_paths`), or else padded.
    """

    trees: tuple[tuple[TokenTree, ...], ...]
    labels: Labels
    pad_id: int
    sequences: int
    summed: bool = False
    packed: bool = False

    @classmethod
    def of(
        cls, items: Sequence[Item], labels: Labels, *, pad_id: int, shares: bool
    ) -> TreeExamples:
        """The trees of rows; where sequences must not share one, each has its own.

        So have those of a row that would be a tree of more than `LONGEST_TREE` tokens.
        """
        trees = tuple(_trees(item) if shares else _apart(item) for item in items)
        return cls(trees, labels, pad_id, max(len(item) for item in items))

    @property
    def are_paths(self) -> bool:
        """Whether each tree is a single sequence."""
        return all(tree.is_path for trees in self.trees for tree in trees)

    def length(self, row: int) -> int:
        """The tokens of all its trees, padded to the longest unless they are packed."""
        return sum(self._widths(self.trees[row]))

    def _widths(self, trees: Sequence[TokenTree]) -> list[int]:
        """The tokens that each of these trees takes of a batch that they are alone in."""
        lengths = [len(tree.tokens) for tree in trees]
        return lengths if self.packed else [max(lengths)] * len(lengths)

    def select(self, rows: Sequence[int]) -> TreeExamples:
        """These rows alone, in this order."""
        return replace(
            self,
            trees=tuple(self.trees[row] for row in rows),
            labels=self.labels[np.asarray(rows, dtype=np.intp)],
        )

    @property
    def most_batches(self) -> int:
        """See `Examples.most_batches`."""
        return sum(map(len, self.trees)) if self.summed else len(self)

    def batches(self, token_budget: int, batch_cost: int = CPU_BATCH_COST) -> list[Batch]:
        """See `Examples.batches`; a row longer than the budget is taken apart if it is summed."""
        if not self.summed or all(self.length(row) <= token_budget for row in range(len(self))):
            return super().batches(token_budget, batch_cost)
        pieces = [
            (row, part) for row in range(len(self)) for part in self._parts(row, token_budget)
        ]
        owners = [row for row, _ in pieces]
        apart = replace(
            self,
            trees=tuple(part for _, part in pieces),
            labels=self.labels[owners],
            # Of all its row a piece would have place for, memory would grow by length squared.
            sequences=max(len(part) for _, part in pieces),
            summed=False,
        )
        places = torch.tensor(owners)
        return [
            replace(batch, rows=places[batch.rows])
            for batch in apart.batches(token_budget, batch_cost)
        ]

    def sizes(self, lengths: Sequence[int], token_budget: int, batch_cost: int) -> list[int]:
        """See `Examples.sizes`; packed ones need no padding."""
        if self.packed:
            return pack_sizes(lengths, token_budget)
        return super().sizes(lengths, token_budget, batch_cost)

    def _parts(self, row: int, token_budget: int) -> list[tuple[TokenTree, ...]]:
        """The trees of a row, as many together as a batch has room for."""
        trees = iter(self.trees[row])
        sizes = pack_sizes(self._widths(self.trees[row]), token_budget)
        return [tuple(islice(trees, size)) for size in sizes]

    def batch(self, rows: Sequence[int]) -> TreeBatch:
        """These rows as one batch, packed or padded to its longest tree."""
        trees = [tree for row in rows for tree in self.trees[row]]
        widths = self._widths(trees)
        inputs = (
            _end_to_end(trees, tuple(widths))
            if self.packed
            else _side_by_side(trees, widths[0], self.pad_id)
        )
        firsts = accumulate(widths[:-1], initial=0)
        at = np.concatenate([tree.at + first for tree, first in zip(trees, firsts, strict=True)])
        sums, counts = self._sums(rows, len(at))
        return TreeBatch(
            inputs,
            torch.tensor(rows),
            at=torch.from_numpy(at),
            foretold=torch.from_numpy(np.concatenate([tree.foretold for tree in trees])),
            sums=torch.from_numpy(sums),
            counts=torch.from_numpy(counts),
        )

    def _sums(self, rows: Sequence[int], predictions: int) -> tuple[Ints, Ints]:
        """Which predictions each sequence of the rows is the sum of, and how many these are."""
        before = 0
        listed: list[list[list[int]]] = []
        for row in rows:
            listed.append([])
            for tree in self.trees[row]:
                listed[-1] += [[before + each for each in places] for places in tree.sums]
                before += len(tree.at)
        longest = max(len(places) for each in listed for places in each)
        sums = np.full((len(rows), self.sequences, longest), predictions)
        counts = np.zeros((len(rows), self.sequences), np.int64)
        for row, sequences in enumerate(listed):
            for place, places in enumerate(sequences):
                sums[row, place, : len(places)] = places
                counts[row, place] = len(places)
        return sums, counts


def shared(
    rows: Rows,
    task: Task,
    settings: TaskSettings,
    tokenizer: PreTrainedTokenizerBase,
    supernet: Supernet,
    max_length: int,
) -> TreeExamples:
    """A tree for each row, of what the task scores of it; where the model takes none, sequences.

    Raises:
        InputError: a row cannot be scored within ``max_length`` tokens, or has no token to score.
    """
    examples_of = _examples_of(rows, task, settings, tokenizer, max_length)
    examples = examples_of(shares=True)
    longest = max(len(tree.tokens) for trees in examples.trees for tree in trees)
    if supernet.family.can_share_a_sequence(supernet.config, longest):
        return examples
    return examples_of(shares=False)


def summed(
    rows: Rows,
    task: Task,
    settings: TaskSettings,
    tokenizer: PreTrainedTokenizerBase,
    _: Supernet,
    max_length: int,
) -> TreeExamples:
    """The sequences of each row, which share no more than their first token.

    Raises:
        InputError: a row cannot be scored within ``max_length`` tokens, or has no token to score.
    """
    examples_of = _examples_of(rows, task, settings, tokenizer, max_length)
    return replace(examples_of(shares=False), summed=True)


def _examples_of(
    rows: Rows,
    task: Task,
    settings: TaskSettings,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> Callable[..., TreeExamples]:
    """`TreeExamples.of` what the task scores of the rows; whether a row ``shares`` is left open."""
    items = task.items(rows, settings, TokenizerEncoder(tokenizer), max_length)
    for row, item in enumerate(items):
        if not item:
            raise InputError(
                "the row has no token that could be scored",
                field=f"row {rows.number(row)}",
                remedy="register the data without rows whose text is a single token, or set "
                "task_settings/add_bos to true",
            )
    pad_id = int(tokenizer.pad_token_id or 0)
    return partial(TreeExamples.of, items, task.labels(rows, settings), pad_id=pad_id)


def choices(active: ActiveSubnet, batch: Batch) -> torch.Tensor:
    """The log-likelihood of each sequence, shape (rows, sequences), float32; of none 0."""
    assert isinstance(batch, TreeBatch)
    predictions = log_probabilities(active, batch)
    padded = torch.cat([predictions, predictions.new_zeros(1)])
    # Sums of a fixed order: adding by index has none on a GPU.
    return padded[batch.sums].sum(dim=-1)


def texts(active: ActiveSubnet, batch: Batch) -> torch.Tensor:
    """The log-likelihood of all sequences of a row, and their tokens, shape (rows, 2)."""
    assert isinstance(batch, TreeBatch)
    sums = choices(active, batch).sum(dim=1)
    return torch.stack([sums, batch.counts.sum(dim=1).to(sums.dtype)], dim=1)


def log_probabilities(active: ActiveSubnet, batch: TreeBatch) -> torch.Tensor:
    """The log-probability of each foretold token, shape (predictions,), float32.

    Logits are computed where something is foretold, and nowhere else.
    """
    logits = active.logits(batch.inputs, at=batch.at)
    size = max(1, LOGITS // logits.shape[-1])
    parts = zip(torch.split(logits, size), torch.split(batch.foretold, size), strict=True)
    return torch.cat([_log_probability(*part) for part in parts])


def _log_probability(logits: torch.Tensor, foretold: torch.Tensor) -> torch.Tensor:
    logits = logits.float()
    return logits.gather(1, foretold[:, None]).squeeze(1) - logits.logsumexp(dim=1)


def _trees(item: Item) -> tuple[TokenTree, ...]:
    tree = TokenTree.of(item)
    return (tree,) if len(tree.tokens) <= LONGEST_TREE else _apart(item)


def _apart(item: Item) -> tuple[TokenTree, ...]:
    return tuple(TokenTree.of((each,)) for each in item)


def _end_to_end(trees: Sequence[TokenTree], lengths: tuple[int, ...]) -> Inputs:
    return {
        "input_ids": torch.from_numpy(np.concatenate([tree.tokens for tree in trees]))[None],
        "position_ids": torch.from_numpy(np.concatenate([tree.depths for tree in trees]))[None],
        "packing": Packing.of(lengths),
    }


def _side_by_side(trees: Sequence[TokenTree], width: int, pad_id: int) -> Inputs:
    inputs: Inputs = {"input_ids": _padded([tree.tokens for tree in trees], width, pad_id)}
    if not all(tree.is_path for tree in trees):
        inputs["position_ids"] = _padded([tree.depths for tree in trees], width, 0)
        # What fills up a tree sees itself, so that there is something to attend to.
        inputs["subtree_ends"] = _padded([tree.ends for tree in trees], width, width)
    return inputs


def _padded(rows: Sequence[Ints], width: int, fill: int) -> torch.Tensor:
    padded = np.full((len(rows), width), fill)
    for row, values in enumerate(rows):
        padded[row, : len(values)] = values
    return torch.from_numpy(padded)
