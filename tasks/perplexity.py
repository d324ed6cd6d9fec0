"""Perplexity: how well a language model foretells texts, token by token."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from elasticnas.api_schemas.problems import InputError
from elasticnas.tasks.items import Item, Scored, TextEncoder, windows
from elasticnas.tasks.metric import Values
from elasticnas.tasks.metrics import PERPLEXITY, TOKEN_LOG_LIKELIHOOD
from elasticnas.tasks.prompted import PromptedTask
from elasticnas.tasks.rows import Labels, Rows
from elasticnas.tasks.settings import FIELD, PromptSettings
from elasticnas.tasks.task import TASKS, Outcomes, Raw

OUTCOME = np.dtype([("log_likelihood", np.float64), ("tokens", np.int64)])
"""The sum of a row's log-probabilities, in nats, and of how many tokens."""
LARGEST_LOSS = 300.0
"""Nats a token. Of a broken subnet's higher loss exp, or its square, is no finite number."""


class PerplexitySettings(PromptSettings):
    """The text of a row is its prompt, by default its only column.

    A text longer than ``window`` tokens is cut into windows, each of which begins anew, with the
    tokenizer's first token before it unless ``add_bos`` is false or the tokenizer adds none.
    """

    window: Annotated[int, Field(ge=2, le=1_000_000)] | None = Field(
        default=None,
        description="tokens of a window, the first token not counted; default: as many as "
        "max_length allows",
    )


class Perplexity(PromptedTask):
    """exp of the mean loss of all tokens of all rows, and its logarithm."""

    name = "perplexity"
    metrics = (PERPLEXITY, TOKEN_LOG_LIKELIHOOD)
    probe = "texts"
    label_type = "int64"
    has_labels = False
    settings_type = PerplexitySettings

    def require_length(self, settings: PerplexitySettings, max_length: int) -> None:
        """A window fits, without a first token before it at least."""
        if settings.window is not None and settings.window > max_length + 1:
            raise self._too_long(settings.window, max_length)

    def items(
        self, rows: Rows, settings: PerplexitySettings, encoder: TextEncoder, max_length: int
    ) -> list[Item]:
        """The windows of each row."""
        texts = [settings.context(rows.row(index)) for index in range(len(rows))]
        plain = encoder(texts, add_bos=False)
        (begin,) = encoder([""], add_bos=settings.add_bos)
        window = settings.window or max_length - len(begin)
        # The last token of a window is foretold and not run.
        if len(begin) + window > max_length + 1:
            raise self._too_long(window, max_length)
        return [windows(tokens, begin, window) for tokens in plain]

    @staticmethod
    def _too_long(window: int, max_length: int) -> InputError:
        return InputError(
            f"windows of so many tokens are longer than max_length, {max_length}",
            field=f"{FIELD}/window",
            value=window,
            remedy="raise max_length, or leave window out",
        )

    def taught(
        self,
        rows: Rows,
        settings: PerplexitySettings,
        encoder: TextEncoder,
        max_length: int,
        end: int,  # noqa: ARG002
    ) -> list[Scored]:
        """Every window by itself; a text has no answer that could be over."""
        items = self.items(rows, settings, encoder, max_length)
        return [window for item in items for window in item]

    def labels(self, rows: Rows, _: PerplexitySettings) -> Labels:
        """The next token is the label."""
        return np.zeros(len(rows), np.int64)

    def outcomes(self, raw: Raw, labels: Labels, _: PerplexitySettings) -> Outcomes:
        """Of sums and numbers of tokens (rows, 2).

        Raises:
            ArithmeticError: the log-probabilities are not numbers.
        """
        if not np.isfinite(raw).all():
            raise ArithmeticError("the subnet's log-likelihoods are not finite numbers")
        outcomes = np.empty(len(labels), OUTCOME)
        outcomes["log_likelihood"], outcomes["tokens"] = raw.T
        return outcomes

    def values(self, outcomes: Outcomes) -> dict[str, Values]:
        """Of each sample all tokens together."""
        mean = outcomes["log_likelihood"].sum(axis=-1) / outcomes["tokens"].sum(axis=-1)
        perplexity = np.exp(np.minimum(-mean, LARGEST_LOSS))
        return {PERPLEXITY.name: perplexity, TOKEN_LOG_LIKELIHOOD.name: mean}


PERPLEXITY_TASK = TASKS.register(Perplexity.name, Perplexity())
