"""SQuAD's rule of when an answer is right: `evaluate-v2.0.py` of Rajpurkar et al. 2018, whole.

Of rows that all have answers it gives what `evaluate-v1.1.py` (Rajpurkar et al. 2016) gives, unless
an answer is nothing but articles and punctuation.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)

Golds = tuple[str, ...]
"""The normalised right answers to a row: one at least, and the empty text where it has none."""


def normalised(text: str) -> str:
    """In small letters, without ASCII punctuation and articles, words one space apart."""
    bare = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def golds(answers: Sequence[str]) -> Golds:
    """The right answers as predictions are compared with them.

    One of which nothing is left counts as none, and a row without any is right unanswered.
    """
    return tuple(filter(None, map(normalised, answers))) or ("",)


def score(prediction: str, right: Golds) -> tuple[bool, float]:
    """Whether a predicted text is a right answer, and its best F1 with one of them."""
    predicted = normalised(prediction)
    return predicted in right, max(_f1(predicted, gold) for gold in right)


def _f1(predicted: str, gold: str) -> float:
    """The harmonic mean of precision and recall of words; of no answer 1 where there is none."""
    words, expected = predicted.split(), gold.split()
    if not words or not expected:
        return float(words == expected)
    same = (Counter(words) & Counter(expected)).total()
    if same == 0:
        return 0.0
    precision, recall = same / len(words), same / len(expected)
    return 2 * precision * recall / (precision + recall)
