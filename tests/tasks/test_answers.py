"""Answers are read off texts as the originals read them."""

import pytest

from elasticnas.api_schemas.problems import InputError
from elasticnas.tasks.answers import ANSWER_RULES, expression


@pytest.mark.parametrize(
    ("rule", "text", "label", "is_right"),
    [
        ("text", " a film review\n", "a film review", True),
        ("text", "a film review.", "a film review", False),
        ("number", "She makes 9 * 2 = $18 every day.", "18.0", True),
        ("number", "that is 1,234.5", "1234.5", True),
        ("number", "from 12 down to -7", "-7", True),
        ("number", "18 </s>", "#### 18", True),
        ("number", "18", "16 - 3 = <<16-3=13>>13\n#### 1,018", False),
        ("number", "1018", "16 - 3 = <<16-3=13>>13\n#### 1,018", True),
        ("number", "0.3333", "0.33333333", True),
        ("number", "0.331", "0.33333333", False),
        ("number", "no number", "3", False),
        ("number", "3.", "3", True),
        ("letter", "The answer is B", "B", True),
        ("letter", "Choose B", "C", True),
        ("letter", "none", "A", False),
        ("true-false", "the correct answer is true, not false", "true", True),
        ("true-false", "untrue", "true", True),
        ("solution", "solution2", "solution2", True),
        ("answer", "the correct answer is answer4", "answer4", True),
        ("ending", "ending1 or ending2", "ending2", False),
        ("option", "option3", "option1", False),
    ],
)
def test_a_rule_reads_the_answer(rule: str, text: str, label: str, is_right: bool) -> None:
    # "Choose B": the first of A to E anywhere, the C of "Choose", is AQuA's rule.
    assert ANSWER_RULES[rule].is_right(text, label) is is_right


@pytest.mark.parametrize(
    ("rule", "label"), [("number", "eighteen"), ("number", "inf"), ("letter", "F"), ("option", "1")]
)
def test_a_label_that_no_answer_can_be_is_refused(rule: str, label: str) -> None:
    with pytest.raises(InputError) as refused:
        ANSWER_RULES[rule].check(label)
    assert refused.value.field == "label"


def test_an_expression_gives_its_first_group() -> None:
    rule = expression(r"#### (-?[0-9.,]+)")
    assert rule.is_right("so #### 1,018\n#### 3", "1018.0")
    assert not rule.is_right("1018", "1018")
    assert expression("[a-z]+").is_right("12 abc", "abc")
    assert not expression("(a)|b").is_right("b", "b")


@pytest.mark.parametrize(
    "pattern", ["(", "a" * 1001, "(?P<x>a)(?P<x>b)", "(?:(?:ab|c){1000}){,1000}"]
)
def test_what_is_no_expression_is_refused(pattern: str) -> None:
    with pytest.raises(InputError, match="no regular expression") as refused:
        expression(pattern)
    assert refused.value.field == "answer_expression"


def test_an_expression_that_would_never_end_is_stopped() -> None:
    with pytest.raises(InputError, match="searched one text"):
        expression(r"^(a|aa)+$").read("a" * 200 + "b")


@pytest.mark.parametrize("pattern", ["[[:foo:]]", "(" * 400 + ")" * 400])
def test_an_expression_that_only_re_takes_is_named(pattern: str) -> None:
    """Requests are checked where there is no ``regex``."""
    with pytest.raises(InputError, match="no regular expression") as refused:
        expression(pattern).read("a")
    assert refused.value.field == "answer_expression"
