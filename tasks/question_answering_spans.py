"""Which span of a context answers a question, of logits for its starts and ends.

The rule is `postprocess_qa_predictions` of Transformers' examples (`utils_qa.py`), which in turn is
that of BERT's `run_squad.py` (Devlin et al. 2019): of the likeliest starts and ends of each window,
the pair with the largest sum, over all windows of the context.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """The windows of one row, padded to the longest: arrays (windows, tokens).

    ``starts`` and ``ends`` are the characters of the context that a token begins at and ends
    before; ``is_context`` is false for the question, special tokens and padding, ``is_token`` for
    padding alone. A window's first token stands for no answer.
    """

    starts: Ints
    ends: Ints
    is_context: NDArray[np.bool_]
    is_token: NDArray[np.bool_]


@dataclass(frozen=True)
class SpanRule:
    """``n_best`` starts and ends of each window are tried, spans of ``max_answer_length`` tokens.

    Without a ``null_threshold`` every row is answered. With one, a row is not if its null score,
    the least of its windows, exceeds that of its best answer by more.
    """

    n_best: int
    max_answer_length: int
    null_threshold: float | None

    def span(self, windows: Windows, starts: Floats, ends: Floats) -> tuple[int, int]:
        """The characters of the answer, its first and one behind its last; (0, 0) for no answer.

        ``starts`` and ``ends`` are the windows' logits (windows, tokens).
        """
        first, last = (self._likeliest(logits, windows) for logits in (starts, ends))
        rows = np.arange(len(starts))[:, None]
        scores = starts[rows, first][:, :, None] + ends[rows, last][:, None, :]
        begins, finishes = windows.starts[rows, first], windows.ends[rows, last]
        length = last[:, None, :] - first[:, :, None] + 1
        allowed = (
            windows.is_context[rows, first][:, :, None]
            & windows.is_context[rows, last][:, None, :]
            & (length > 0)
            & (length <= self.max_answer_length)
        )
        if self.null_threshold is not None:
            allowed &= begins[:, :, None] < finishes[:, None, :]
        if not allowed.any():
            return 0, 0
        best = np.unravel_index(np.where(allowed, scores, -np.inf).argmax(), scores.shape)
        if self.null_threshold is not None:
            null = (starts[:, 0] + ends[:, 0]).min()
            if null - scores[best] > self.null_threshold:
                return 0, 0
        window, start, end = best
        return int(begins[window, start]), int(finishes[window, end])

    def _likeliest(self, logits: Floats, windows: Windows) -> NDArray[Any]:
        """The places of the largest logits of each window, (windows, at most n_best).

        Those of the question count among them, as in the original. Of equals the first comes first,
        so that a row has one answer, whatever it shares a batch with.
        """
        order = np.argsort(np.where(windows.is_token, -logits, np.inf), axis=1, kind="stable")
        return order[:, : self.n_best]
