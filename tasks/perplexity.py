"""Perplexity: how well a language model foretells texts, token by token."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from elasticnas.api_schemas.problems import InputError
from elasticnas.tasks.items import EMPTY, Item, Scored, TextEncoder, rolling_windows, windows
from elasticnas.tasks.metric import Values
from elasticnas.tasks.metrics import (
    BYTE_PERPLEXITY,
    PERPLEXITY,
    TOKEN_LOG_LIKELIHOOD,
    WORD_PERPLEXITY,
)
from elasticnas.tasks.prompt import Prompt
from elasticnas.tasks.prompted import PromptedTask
from elasticnas.tasks.rows import Labels, Rows
from elasticnas.tasks.settings import FIELD, PromptSettings, PromptText
from elasticnas.tasks.task import TASKS, Outcomes, Raw, RowsOfDataset

LABEL = np.dtype([("words", np.int64), ("bytes", np.int64)])
"""How long a row's text is, besides its tokens."""
OUTCOME = np.dtype([("log_likelihood", np.float64), ("tokens", np.int64), *LABEL.descr])
"""The sum of a row's log-probabilities, in nats, and of how many tokens, words and bytes."""
Tokens = tuple[list[list[int]], Callable[[Sequence[int]], Item]]
"""The tokens of texts, and how those of one are cut into windows."""
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
    windows: Literal["separate", "rolling"] = Field(
        default="separate",
        description="rolling: as lm-eval's loglikelihood_rolling has it, each window after the "
        "first has at least the last token before it in front, and a tokenizer's first token is "
        "scored like any other",
    )
    counted: PromptText | None = Field(
        default=None,
        description="the text whose words and bytes word_perplexity and byte_perplexity count, "
        "where it is another than the one that is scored",
    )


class Perplexity(PromptedTask):
    """exp of the mean loss of all tokens of all rows, its logarithm; the same of words, of bytes.

    Words are what white space parts, as lm-eval counts them.
    """

    name = "perplexity"
    metrics = (PERPLEXITY, TOKEN_LOG_LIKELIHOOD, WORD_PERPLEXITY, BYTE_PERPLEXITY)
    probe = "texts"
    label_type = "int64"
    has_labels = False
    settings_type = PerplexitySettings

    def settle(self, given: Mapping[str, Any], rows: RowsOfDataset) -> PromptSettings:
        """Also what is counted is made of columns."""
        settings = super().settle(given, rows)
        assert isinstance(settings, PerplexitySettings)
        if settings.counted is not None:
            Prompt(settings.counted).require_columns(rows.columns, f"{FIELD}/counted")
        return settings

    def require_length(self, settings: PerplexitySettings, max_length: int) -> None:
        """A window fits, without a first token before it at least."""
        if settings.window is not None and settings.window > max_length + 1:
            raise self._too_long(settings.window, max_length)

    def items(
        self, rows: Rows, settings: PerplexitySettings, encoder: TextEncoder, max_length: int
    ) -> list[Item]:
        """The windows of each row; an empty text, as lm-eval has it, loses nothing."""
        texts = [settings.context(rows.row(index)) for index in range(len(rows))]
        cutting = self._rolling if settings.windows == "rolling" else self._separate
        tokens, cut = cutting(texts, settings, encoder, max_length)
        return [cut(each) if each else EMPTY for each in tokens]

    def _rolling(
        self,
        texts: Sequence[str],
        settings: PerplexitySettings,
        encoder: TextEncoder,
        max_length: int,
    ) -> Tokens:
        window = settings.window or max_length
        if window > max_length:
            raise self._too_long(window, max_length)
        tokens = encoder(texts, add_bos=settings.add_bos)
        return tokens, lambda each: rolling_windows(each, encoder, window)

    def _separate(
        self,
        texts: Sequence[str],
        settings: PerplexitySettings,
        encoder: TextEncoder,
        max_length: int,
    ) -> Tokens:
        (begin,) = encoder([""], add_bos=settings.add_bos)
        window = settings.window or max_length - len(begin)
        # The last token of a window is foretold and not run.
        if len(begin) + window > max_length + 1:
            raise self._too_long(window, max_length)
        return encoder(texts, add_bos=False), lambda each: windows(each, begin, window)

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
        return [window for item in items for window in item if window.count]

    def labels(self, rows: Rows, settings: PerplexitySettings) -> Labels:
        """The words and bytes of each row, of which `items` says the tokens."""
        counted = settings.counted
        text_of = settings.context if counted is None else Prompt(counted).fill
        labels = np.empty(len(rows), LABEL)
        for index in range(len(rows)):
            text = text_of(rows.row(index))
            labels[index] = (len(re.split(r"\s+", text)), len(text.encode()))
        return labels

    def outcomes(self, raw: Raw, labels: Labels, _: PerplexitySettings) -> Outcomes:
        """Of sums and numbers of tokens (rows, 2).

        Raises:
            ArithmeticError: the log-probabilities are not numbers.
        """
        if not np.isfinite(raw).all():
            raise ArithmeticError("the subnet's log-likelihoods are not finite numbers")
        outcomes = np.empty(len(labels), OUTCOME)
        outcomes["log_likelihood"], outcomes["tokens"] = raw.T
        outcomes["words"], outcomes["bytes"] = labels["words"], labels["bytes"]
        return outcomes

    def values(self, outcomes: Outcomes) -> dict[str, Values]:
        """Of each sample all tokens, words and bytes together."""
        whole = outcomes["log_likelihood"].sum(axis=-1)
        # A sample of empty texts alone has no token, and loses nothing.
        mean = whole / np.maximum(outcomes["tokens"].sum(axis=-1), 1)
        return {
            PERPLEXITY.name: _exp(-mean),
            TOKEN_LOG_LIKELIHOOD.name: mean,
            WORD_PERPLEXITY.name: _exp(-whole / outcomes["words"].sum(axis=-1)),
            BYTE_PERPLEXITY.name: _exp(-whole / np.maximum(outcomes["bytes"].sum(axis=-1), 1)),
        }


def _exp(loss: Values) -> Values:
    return np.asarray(np.exp(np.minimum(loss, LARGEST_LOSS)))


PERPLEXITY_TASK = TASKS.register(Perplexity.name, Perplexity())
