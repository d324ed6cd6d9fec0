"""The metrics of the built-in tasks; shares and correlations are best at 1, and counted from 0."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from elasticnas.tasks.metric import METRICS, Metric, Values


def share_error(values: Values, rows: int) -> Values:
    """The binomial error of shares of right answers: ``sqrt(p (1 - p) / rows)``, shape (n,).

    Half a row is added on each side, so that a perfect score is not taken for certain.
    """
    share = (np.clip(values, 0.0, 1.0) * rows + 0.5) / (rows + 1.0)
    return np.asarray(np.sqrt(share * (1.0 - share) / rows))


def correlation_error(values: Values, rows: int) -> Values:
    """``(1 - r^2) / sqrt(rows)``, the large-sample error of Pearson's r (Fisher 1915), shape (n,).

    Matthews' coefficient is Pearson's of two binary variables.
    """
    unexplained = np.maximum(1.0 - np.clip(values, -1.0, 1.0) ** 2, 1.0 / rows)
    return np.asarray(unexplained / np.sqrt(rows))


def spread_error(values: Values, rows: int) -> Values:
    """Of means over rows whose standard deviation is about the mean itself, shape (n,).

    So it is for what is never negative and exponentially distributed, as log-likelihoods roughly
    are; of a perplexity by the delta method, for rows whose mean losses lie one nat apart.
    """
    return np.asarray((np.abs(values) + 1.0 / rows) / np.sqrt(rows))


def constant_error(values: Values, rows: int) -> Values:
    """Of means over rows that lie one nat apart, shape (n,)."""
    return np.full_like(values, 1.0 / np.sqrt(rows))


def _share(name: str, error: Callable[[Values, int], Values] = share_error) -> Metric:
    return METRICS.register(name, Metric(name, ideal=1.0, worst=0.0, standard_error=error))


ACCURACY = _share("accuracy")
F1 = _share("f1")
"""Class 1's for a head of two classes, macro-averaged for one of more."""
MATTHEWS = _share("matthews_correlation", correlation_error)
PEARSON = _share("pearson", correlation_error)
SPEARMAN = _share("spearman", correlation_error)
COMBINED = _share("combined_score")
"""GLUE's: the mean of accuracy and F1 (MRPC, QQP) for classification, of Pearson's and Spearman's
correlations (STS-B) for regression."""

ACC = _share("acc")
"""lm-eval's: the share of rows whose right choice has the largest log-likelihood."""
ACC_NORM = _share("acc_norm")
"""lm-eval 0.4's: the same of log-likelihoods divided by the characters of their choice."""
EXACT_MATCH = _share("exact_match")
"""The share of rows whose text, generated or a span of a context, is a right answer."""
ANSWER_F1 = _share("answer_f1")
"""SQuAD's F1: of the words that an answer has in common with a right one, the mean over rows."""
MEAN_LOG_LIKELIHOOD = METRICS.register(
    "mean_log_likelihood",
    Metric(
        "mean_log_likelihood",
        ideal=0.0,
        worst=-1000.0,
        standard_error=spread_error,
        is_logarithmic=True,
    ),
)
"""The mean over rows of the log-likelihood of the right choice, in nats."""
LARGEST_LOSS = 6 * math.log(10)
"""Nats for each token from which hypervolumes are counted: more than guessing costs."""
PERPLEXITY = METRICS.register(
    "perplexity",
    Metric(
        "perplexity",
        ideal=1.0,
        worst=math.exp(LARGEST_LOSS),
        standard_error=spread_error,
        is_logarithmic=True,
    ),
)
"""exp of the mean negative log-likelihood of a token; less is better."""
WORD_PERPLEXITY = METRICS.register(
    "word_perplexity",
    Metric(
        "word_perplexity",
        ideal=1.0,
        worst=math.exp(2 * LARGEST_LOSS),
        standard_error=spread_error,
        is_logarithmic=True,
    ),
)
"""lm-eval's: the same of a word, whose tokens are two for a start; white space parts words."""
BYTE_PERPLEXITY = METRICS.register(
    "byte_perplexity",
    Metric(
        "byte_perplexity",
        ideal=1.0,
        worst=256.0,
        standard_error=spread_error,
        is_logarithmic=True,
    ),
)
"""lm-eval's: the same of a byte in UTF-8; counted from guessing one of 256."""
TOKEN_LOG_LIKELIHOOD = METRICS.register(
    "token_log_likelihood",
    Metric("token_log_likelihood", ideal=0.0, worst=-LARGEST_LOSS, standard_error=constant_error),
)
"""The mean log-likelihood of a token, in nats: minus the logarithm of the perplexity."""
