"""The torch side of tasks: how rows become batches, and batches raw numbers or texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from elasticnas.api_schemas.registry import Registry
from elasticnas.supernet.forward.activation import ActiveSubnet
from elasticnas.supernet.measuring import generation, spans, trees
from elasticnas.supernet.measuring.examples import Batch, Examples, LabelledTexts, tokenize
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import Task
from elasticnas.tasks.rows import Rows

Run = Callable[[ActiveSubnet, Batch], torch.Tensor | list[str]]
"""Runs a subnet on a batch; the raw numbers of its rows, shape (rows, numbers), or a text each."""
Prepare = Callable[[Rows, Task, Any, PreTrainedTokenizerBase, Supernet, int], Examples]
"""Makes examples of rows; for a task, its settings, a tokenizer, a super-network, a max_length."""


@dataclass(frozen=True)
class Probe:
    """How rows are prepared once, and run again for every subnet.

    ``run`` is given the batches that the examples which ``prepare`` makes are cut into. What it
    needs beside token ids, `Examples.batch` puts into a `Batch` of its own type.
    """

    prepare: Prepare
    run: Run


def logits(active: ActiveSubnet, batch: Batch) -> torch.Tensor:
    """A classifier's logits, shape (rows, classes); of a regression (rows, 1)."""
    return active.logits(batch.inputs)


def labelled(
    rows: Rows,
    task: Task,
    _: Any,
    tokenizer: PreTrainedTokenizerBase,
    supernet: Supernet,
    max_length: int,
) -> Examples:
    """One text or a pair for each row, cut to ``max_length`` tokens."""
    texts = LabelledTexts.of(rows)
    return tokenize(texts, tokenizer, supernet.family, task=task, max_length=max_length)


PROBES: Registry[Probe] = Registry("probe")
"""Every probe, by the name that tasks have for it."""
PROBES.register("logits", Probe(labelled, logits))
PROBES.register("choices", Probe(trees.shared, trees.choices))
PROBES.register("texts", Probe(trees.summed, trees.texts))
PROBES.register("spans", Probe(spans.prepare, spans.answers))
PROBES.register("generation", Probe(generation.prepare, generation.write_texts))
