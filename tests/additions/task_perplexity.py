"""A task of one's own in one file: how well a language model foretells each next token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from elasticnas.supernet.forward.activation import ActiveSubnet
from elasticnas.supernet.measuring.examples import Batch
from elasticnas.supernet.measuring.probes import PROBES
from elasticnas.tasks.columns import Columns
from elasticnas.tasks.metric import METRICS, Metric, Values
from elasticnas.tasks.task import TASKS, Head, Labels, LabelsOfDataset, Outcomes, Raw, Task

OUTCOME = np.dtype([("loss", np.float64), ("tokens", np.int64)])
"""The summed loss of a row's tokens, in nats, and how many of them were foretold."""


def perplexity_error(values: Values, rows: int) -> Values:
    """By the delta method, for rows whose mean losses lie one nat apart."""
    return np.asarray(values / np.sqrt(rows))


PERPLEXITY = METRICS.register(
    "perplexity", Metric("perplexity", ideal=1.0, worst=1000.0, standard_error=perplexity_error)
)


class Perplexity(Task):
    """exp of the mean loss of all tokens but each row's first; less is better."""

    name = "perplexity"
    metrics = (PERPLEXITY,)
    probe = "token-losses"
    label_type = "int64"

    def read_labels(
        self, columns: Columns, name: str, _: Sequence[str] | None
    ) -> tuple[list[int], None]:
        """Any column will do: the next token is the label."""
        return [0] * len(columns.values[name]), None

    def fit(self, head: Head, labels: LabelsOfDataset, field: str) -> None:
        """Whatever the head, it must give logits of every token: the probe finds out."""

    def outcomes(self, raw: Raw, labels: Labels) -> Outcomes:
        outcomes = np.empty(len(labels), OUTCOME)
        outcomes["loss"], outcomes["tokens"] = raw.T
        return outcomes

    def values(self, outcomes: Outcomes) -> dict[str, Values]:
        mean = outcomes["loss"].sum(axis=-1) / outcomes["tokens"].sum(axis=-1)
        return {PERPLEXITY.name: np.exp(mean)}


def token_losses(active: ActiveSubnet, batch: Batch) -> torch.Tensor:
    """The summed loss of each row, and of how many tokens, shape (rows, 2)."""
    ids = batch.inputs["input_ids"]
    losses = cross_entropy(
        active.logits(batch.inputs)[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none"
    )
    mask = batch.inputs.get("attention_mask")
    scored = torch.ones_like(losses) if mask is None else mask[:, 0, 0, 1:].to(losses.dtype)
    return torch.stack([(losses * scored).sum(1), scored.sum(1)], dim=1)


PROBES.register("token-losses", token_losses)
TASK = TASKS.register(Perplexity.name, Perplexity())
