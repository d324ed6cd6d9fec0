"""A task of one's own in one file: how many bits a language model needs for a byte of text.

Perplexities of models with different tokenizers cannot be compared, as their tokens differ; bits
per byte can (Gao et al. 2020, "The Pile", section 3.1).
"""

from __future__ import annotations

import numpy as np

from elasticnas.tasks.items import Item, TextEncoder, windows
from elasticnas.tasks.metric import METRICS, Metric, Values
from elasticnas.tasks.prompted import PromptedTask
from elasticnas.tasks.rows import Labels, Rows
from elasticnas.tasks.settings import PromptSettings
from elasticnas.tasks.task import TASKS, Outcomes, Raw

OUTCOME = np.dtype([("bits", np.float64), ("bytes", np.int64)])
"""What a row takes, and how long it is."""


def bits_error(values: Values, rows: int) -> Values:
    """Of rows that lie one bit per byte apart."""
    return np.full_like(values, 1 / np.sqrt(rows))


BITS_PER_BYTE = METRICS.register(
    "bits_per_byte", Metric("bits_per_byte", ideal=0.0, worst=64.0, standard_error=bits_error)
)


class BitsPerByte(PromptedTask):
    """The negative binary logarithm of all texts' likelihood, divided by their bytes in UTF-8."""

    name = "bits-per-byte"
    metrics = (BITS_PER_BYTE,)
    probe = "texts"  # built in: the log-likelihood of what `items` says, and its tokens
    label_type = "int64"
    has_labels = False

    def items(
        self, rows: Rows, settings: PromptSettings, encoder: TextEncoder, max_length: int
    ) -> list[Item]:
        """Each text, in windows of at most ``max_length`` tokens."""
        texts = [settings.context(rows.row(index)) for index in range(len(rows))]
        return [
            windows(tokens, [], max_length) for tokens in encoder(texts, add_bos=settings.add_bos)
        ]

    def labels(self, rows: Rows, settings: PromptSettings) -> Labels:
        """The bytes of each text."""
        texts = [settings.context(rows.row(index)) for index in range(len(rows))]
        return np.array([len(text.encode()) for text in texts])

    def outcomes(self, raw: Raw, labels: Labels, _: PromptSettings) -> Outcomes:
        """Of log-likelihoods in nats, and numbers of tokens, (rows, 2)."""
        outcomes = np.empty(len(labels), OUTCOME)
        outcomes["bits"], outcomes["bytes"] = -raw[:, 0] / np.log(2), labels
        return outcomes

    def values(self, outcomes: Outcomes) -> dict[str, Values]:
        """Of each sample all bytes together."""
        mean = outcomes["bits"].sum(axis=-1) / outcomes["bytes"].sum(axis=-1)
        return {BITS_PER_BYTE.name: mean}


TASK = TASKS.register(BitsPerByte.name, BitsPerByte())
