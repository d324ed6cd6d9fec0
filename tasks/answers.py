"""What a generated text answers, and whether that is right."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.registry import Registry
from elasticnas.tasks.expressions import require_expression, searched

TOLERANCE = 0.001
"""How far a number may be off: LoNAS's and Shears's ``miss``."""

_NUMBER = re.compile(r"-?\d+\.?\d*")
_MARK = "####"
"""Before the final number of a worked solution in GSM8K (Cobbe et al. 2021)."""


class AnswerRule(ABC):
    """How an answer is read off a text, and compared with a label."""

    @abstractmethod
    def read(self, text: str) -> str | None:
        """The answer in a generated text, None where there is none."""

    def check(self, label: str) -> None:  # noqa: B027
        """Raise if no answer could be a label.

        Raises:
            InputError: it is none that this rule reads.
        """

    def is_right(self, text: str, label: str) -> bool:
        """Whether the answer in a generated text is the label's."""
        return self.read(text) == label.strip()


class WholeText(AnswerRule):
    """The whole text, the white space around it aside."""

    def read(self, text: str) -> str:
        """The text."""
        return text.strip()


class LastNumber(AnswerRule):
    """The last number in the text, its thousands separated by commas or not.

    LoNAS's and Shears's rule for mawps, SVAMP and GSM8K: commas are deleted, and the last match of
    ``-?\\d+\\.?\\d*`` is right if it differs by no more than 0.001. Of a label that is a whole
    solution as in GSM8K, the number behind ``####`` counts.
    """

    def read(self, text: str) -> str | None:
        """The number as it is written, without commas."""
        found = _NUMBER.findall(text.replace(",", ""))
        return found[-1] if found else None

    def check(self, label: str) -> None:
        """A finite number."""
        if not math.isfinite(_number(label)):
            raise InputError(
                "the label is no number, and answers are read as numbers",
                field="label",
                value=label[:200],
                remedy="choose the label column that holds the final number, or another answer",
            )

    def is_right(self, text: str, label: str) -> bool:
        """Whether the numbers are the same within the tolerance."""
        found = self.read(text)
        return found is not None and abs(float(found) - _number(label)) <= TOLERANCE


@dataclass(frozen=True)
class FirstOf(AnswerRule):
    """Whichever of some words comes first in the text, also within other words."""

    words: tuple[str, ...]

    def read(self, text: str) -> str | None:
        """The word."""
        found = re.search("|".join(map(re.escape, self.words)), text)
        return found[0] if found else None

    def check(self, label: str) -> None:
        """One of the words."""
        if label.strip() not in self.words:
            raise InputError(
                "the label is none of the answers that are read",
                field="label",
                value=label[:200],
                remedy=f"these are {', '.join(self.words)}",
            )


@dataclass(frozen=True)
class Expression(AnswerRule):
    """The first match of a regular expression: its first group, or all of it if it has none.

    Numbers are compared as numbers, other answers as texts, the white space around them aside.
    """

    pattern: str

    def read(self, text: str) -> str | None:
        """The match.

        Raises:
            InputError: the expression takes too long, or is none to ``regex``.
        """
        found = searched(
            self.pattern, EXPRESSION_FIELD, lambda regex, limit: regex.search(text, timeout=limit)
        )
        if found is None:
            return None
        group = found[1] if found.re.groups else found[0]
        return None if group is None else str(group).strip()

    def is_right(self, text: str, label: str) -> bool:
        """Whether answer and label are the same number, or the same text."""
        found = self.read(text)
        if found is None:
            return False
        close = abs(_number(found) - _number(label)) <= TOLERANCE
        return close or found == label.strip()


EXPRESSION_FIELD = "answer_expression"

ANSWER_RULES: Registry[AnswerRule] = Registry("answer")
"""Every rule without settings of its own."""
ANSWER_RULES.register("text", WholeText())
ANSWER_RULES.register("number", LastNumber())
ANSWER_RULES.register("letter", FirstOf(tuple("ABCDE")))
"""AQuA's."""
ANSWER_RULES.register("true-false", FirstOf(("true", "false")))
"""BoolQ's, and so on: the commonsense tasks as LLM-Adapters (Hu et al. 2023) words them."""
for _name, _word, _count in (
    ("solution", "solution", 2),
    ("answer", "answer", 5),
    ("ending", "ending", 4),
    ("option", "option", 2),
):
    ANSWER_RULES.register(_name, FirstOf(tuple(f"{_word}{k}" for k in range(1, _count + 1))))


def expression(pattern: str) -> Expression:
    """The rule that a user's regular expression is.

    Raises:
        InputError: it is none, or too long.
    """
    require_expression(pattern, EXPRESSION_FIELD)
    return Expression(pattern)


def _number(text: str) -> float:
    """The number that a text is, or that its worked solution ends in; NaN where it is none."""
    final = text.rpartition(_MARK)[2].replace(",", "").strip()
    try:
        return float(final)
    except ValueError:
        return math.nan
