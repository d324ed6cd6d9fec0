"""Published templates, to the last space."""

import pytest

from elasticnas.tasks.templates import HEADER, PROMPT_TEMPLATES


@pytest.mark.parametrize(
    ("name", "indent", "header_spaces"),
    [
        ("lonas-math", 28, 1),
        ("lonas-commonsense", 24, 1),
        ("lonas-training", 20, 2),
        ("shears-math", 28, 1),
        ("shears-commonsense", 24, 1),
        ("shears-training", 20, 2),
        ("shears-gsm8k", 24, 1),
        ("shears-gsm8k-training", 16, 2),
    ],
)
def test_a_template_is_indented_as_published(name: str, indent: int, header_spaces: int) -> None:
    lines = PROMPT_TEMPLATES[name].around("What is {2} + 3?").split("\n")
    spaces = " " * indent
    assert lines == [
        HEADER + " " * header_spaces,
        "",
        f"{spaces}### Instruction:",
        f"{spaces}What is {{2}} + 3?",
        "",
        f"{spaces}### Response:",
        spaces,
    ]
