"""Answers as lm-eval 0.4 reads and compares them: filters of a text, then an exact match.

Sources: ``RegexFilter`` and its neighbours in ``lm_eval/filters``, ``exact_match_hf_evaluate`` in
``lm_eval/api/metrics.py`` (Gao et al., "The Language Model Evaluation Harness").
"""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from elasticnas.api_schemas.problems import InputError
from elasticnas.tasks.answers import AnswerRule
from elasticnas.tasks.expressions import LONGEST_EXPRESSION, require_expression, searched

FILTERS_FIELD = "answer_filters"


def _expression(pattern: str) -> str:
    require_expression(pattern, FILTERS_FIELD)
    return pattern


ExpressionText = Annotated[str, Field(max_length=LONGEST_EXPRESSION), AfterValidator(_expression)]
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_DIGITS = str.maketrans("", "", string.digits)


class RegexFilter(BaseModel):
    """A match of ``regex_pattern``, the first by default, the last for ``group_select`` -1.

    Of several groups, the first that is not empty. Where there is no match, the ``fallback``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    regex_pattern: ExpressionText
    group_select: Annotated[int, Field(ge=-1000, le=1000)] = 0
    fallback: Annotated[str, Field(max_length=1000)] = "[invalid]"

    def __call__(self, text: str) -> str:
        """The match in a text, without the white space around it.

        Raises:
            InputError: the expression takes too long.
        """
        found = searched(
            self.regex_pattern,
            FILTERS_FIELD,
            lambda regex, limit: regex.findall(text, timeout=limit),
        )
        if not -len(found) <= self.group_select < len(found):
            return self.fallback
        match = found[self.group_select]
        if isinstance(match, tuple):
            match = next((group for group in match if group), self.fallback)
        return str(match).strip()


NamedFilter = Literal["remove_whitespace", "lowercase", "uppercase"]
AnswerFilter = RegexFilter | NamedFilter


class Ignored(BaseModel):
    """What of answers and labels does not count: lm-eval's settings of its ``exact_match``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    regexes_to_ignore: Annotated[tuple[ExpressionText, ...], Field(max_length=20)] = ()
    ignore_case: bool = False
    ignore_punctuation: bool = False
    ignore_numbers: bool = False

    def taken_out(self, text: str) -> str:
        """What is left of a text.

        Raises:
            InputError: an expression takes too long.
        """
        for pattern in self.regexes_to_ignore:
            text = _without(pattern, text)
        if self.ignore_case:
            text = text.lower()
        if self.ignore_punctuation:
            text = text.translate(_PUNCTUATION)
        return text.translate(_DIGITS) if self.ignore_numbers else text


NOTHING_IGNORED = Ignored()


def _without(pattern: str, text: str) -> str:
    return str(
        searched(pattern, FILTERS_FIELD, lambda regex, limit: regex.sub("", text, timeout=limit))
    )


@dataclass(frozen=True)
class Filtered(AnswerRule):
    """Filters one after the other; what they leave is the label, to the last space.

    With ``any_of`` a label is a JSON array of texts, each of which is right.
    """

    filters: tuple[AnswerFilter, ...] = ()
    ignored: Ignored = NOTHING_IGNORED
    any_of: bool = False

    def read(self, text: str) -> str:
        """What the filters leave."""
        for each in self.filters:
            text = each(text) if isinstance(each, RegexFilter) else _NAMED[each](text)
        return text

    def check(self, label: str) -> None:
        """With ``any_of``: a JSON array of texts."""
        if self.any_of:
            self._right(label)

    def is_right(self, text: str, label: str) -> bool:
        """Whether the answer is one of the label's, apart from what is ignored."""
        found = self.ignored.taken_out(self.read(text))
        return any(found == self.ignored.taken_out(each) for each in self._right(label))

    def _right(self, label: str) -> list[str]:
        if not self.any_of:
            return [label]
        try:
            right = json.loads(label)
        except (ValueError, RecursionError):
            right = None
        if not isinstance(right, list) or not all(isinstance(each, str) for each in right):
            raise InputError(
                "the label is no JSON array of texts, and any_of says that each is",
                field="label",
                value=label[:200],
                remedy='write ["one", "two"], or leave any_of out',
            )
        return right


_NAMED: dict[str, Callable[[str], str]] = {
    "remove_whitespace": str.strip,
    "lowercase": str.lower,
    "uppercase": str.upper,
}
