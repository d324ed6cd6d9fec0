"""What a subnet writes behind prompts. A row that has ended leaves its batch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from elasticnas.supernet.forward.activation import ActiveSubnet
from elasticnas.supernet.measuring.beams import beam_search
from elasticnas.supernet.measuring.decoding import Decode, Decoding, cut
from elasticnas.supernet.measuring.encoder import TokenizerEncoder
from elasticnas.supernet.measuring.examples import CPU_BATCH_COST, Batch, Examples, Inputs
from elasticnas.supernet.measuring.greedy import greedy
from elasticnas.supernet.measuring.token_reader import Prompts, TokenReader, running
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import Task
from elasticnas.tasks.generation import Generation, GenerationSettings
from elasticnas.tasks.rows import Labels, Rows
from elasticnas.tasks.settings import TaskSettings

log = logging.getLogger(__name__)

CPU_ROWS = 8
"""So many times the tokens that a CPU runs fastest may wait in its memory, as keys and values."""


@dataclass(frozen=True)
class GenerationBatch(Batch):
    """Prompts of some rows, padded on the left, and how texts are written behind them.

    They are read in ``parts`` of so many rows; what they begin with alike, as many tokens as are
    ``shared``, is read once.
    """

    decoding: Decoding
    decode: Decode
    shared: int = 0
    parts: tuple[int, ...] = ()

    @property
    def prompts(self) -> Prompts:
        """The rows as they are read."""
        mask = self.inputs.get("attention_mask")
        is_token = None if mask is None else mask[:, 0, 0]
        return Prompts(self.inputs["input_ids"], is_token, self.shared, self.parts)

    @property
    def tokens(self) -> int:
        """See `Batch.tokens`: those of the prompts."""
        own = sum(part.token_ids[:, self.shared :].numel() for part in self.prompts.split())
        return self.shared + own


@dataclass(frozen=True)
class GenerationExamples(Examples):
    """The prompts of a dataset as token ids, one list per row.

    On a CPU a batch takes ``rows_at_once`` times the rows whose tokens would be run at once.
    """

    runs_once = False
    prompts: list[list[int]]
    labels: Labels
    pad_id: int
    decoding: Decoding
    decode: Decode
    rows_at_once: int = 1

    def length(self, row: int) -> int:
        """The tokens that keys and values are kept of, in all beams."""
        return self.decoding.beams * (len(self.prompts[row]) + self.decoding.max_new_tokens)

    def select(self, rows: Sequence[int]) -> GenerationExamples:
        """These rows alone, in this order."""
        labels = self.labels[np.asarray(rows, dtype=np.intp)]
        return replace(self, prompts=[self.prompts[row] for row in rows], labels=labels)

    def batches(self, token_budget: int, batch_cost: int = CPU_BATCH_COST) -> list[Batch]:
        """All rows, longest prompt first, as many in a batch as fit.

        A batch costs a call of the model for each token that is written, so the fewest batches are
        the fastest. Their prompts are read in parts of ``token_budget`` tokens, each of which costs
        one call, and as many tokens besides as ``batch_cost`` says.
        """
        rows = sorted(range(len(self)), key=self.length, reverse=True)
        batches: list[Batch] = []
        while rows:
            size = max(1, token_budget * self.rows_at_once // self.length(rows[0]))
            batch = self.batch(rows[:size])
            parts = batch.prompts.in_parts(token_budget, batch_cost).parts
            batches.append(replace(batch, parts=parts))
            rows = rows[size:]
        return batches

    def trial(self, token_budget: int) -> Batch:
        """The prompts that are read at once."""
        longest = max(range(len(self)), key=lambda row: len(self.prompts[row]))
        rows = [longest] * max(1, token_budget // len(self.prompts[longest]))
        # One row many times would be read once.
        return replace(self.batch(rows), shared=0)

    def batch(self, rows: Sequence[int]) -> GenerationBatch:
        """These rows as one batch, padded to its longest prompt."""
        padded = Prompts.of([self.prompts[row] for row in rows], self.pad_id)
        inputs: Inputs = {"input_ids": padded.token_ids}
        if padded.is_token is not None:
            inputs["attention_mask"] = padded.is_token[:, None, None, :]
        return GenerationBatch(
            inputs, torch.tensor(rows), self.decoding, self.decode, shared=padded.shared
        )


def prepare(
    rows: Rows,
    task: Task,
    settings: TaskSettings,
    tokenizer: PreTrainedTokenizerBase,
    supernet: Supernet,
    max_length: int,
) -> GenerationExamples:
    """The prompts of rows, and how texts are written behind them.

    Raises:
        InputError: there is no room for prompts within ``max_length`` tokens, or a label is none
            that an answer can be.
    """
    assert isinstance(task, Generation)
    assert isinstance(settings, GenerationSettings)
    decoding = Decoding(
        settings.max_new_tokens,
        ends=end_tokens(supernet, tokenizer),
        stop=settings.stop,
        beams=settings.beams,
        beam_length=settings.beam_length,
    )
    prompts = task.prompts(rows, settings, TokenizerEncoder(tokenizer), max_length)
    labels = task.labels(rows, settings)
    return generation_examples(prompts, labels, decoding, tokenizer, supernet)


def generation_examples(
    prompts: list[list[int]],
    labels: Labels,
    decoding: Decoding,
    tokenizer: PreTrainedTokenizerBase,
    supernet: Supernet,
) -> GenerationExamples:
    """Prompts that are token ids already, for a super-network where it is."""
    decode = partial(tokenizer.batch_decode, skip_special_tokens=True)
    rows_at_once = CPU_ROWS if supernet.model.device.type == "cpu" else 1
    pad_id = int(tokenizer.pad_token_id or 0)
    return GenerationExamples(prompts, labels, pad_id, decoding, decode, rows_at_once)


def write_texts(active: ActiveSubnet, batch: Batch) -> list[str]:
    """The text behind each prompt of a batch. Logged at level DEBUG, to be looked into."""
    assert isinstance(batch, GenerationBatch)
    texts = generate(active, batch.prompts, batch.decoding, batch.decode)
    if log.isEnabledFor(logging.DEBUG):
        for row, text in zip(batch.rows.tolist(), texts, strict=True):
            log.debug("row %d of the lap: the text is %r", row, text)
    return texts


def generate(
    active: ActiveSubnet, prompts: Prompts, decoding: Decoding, decode: Decode
) -> list[str]:
    """The text behind each prompt, up to an end token or a text to stop at.

    As by ``generate()`` of Transformers without sampling, of one prompt at a time.
    """
    tokens = generated_tokens(active, prompts, decoding, decode)
    return [cut(text, decoding.stop) for text in decode(tokens)]


def generated_tokens(
    active: ActiveSubnet, prompts: Prompts, decoding: Decoding, decode: Decode
) -> list[list[int]]:
    """The tokens behind each prompt, an end token left out; ``decode`` is asked for stops alone."""
    write = greedy if decoding.beams == 1 else beam_search

    def run(model: nn.Module) -> list[list[int]]:
        reader = TokenReader(model, prompts, active.beginning())
        return write(reader, prompts, decoding, decode)

    return running(active, run)


def end_tokens(supernet: Supernet, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The tokens that a text ends with: those of the model's files, else the tokenizer's."""
    if supernet.end_tokens or tokenizer.eos_token_id is None:
        return supernet.end_tokens
    return (int(tokenizer.eos_token_id),)
