from __future__ import annotations

import pytest

from api_schemas.problems import InputError
from cli.names import names_of


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("sentence", ["sentence"]),
        ("premise, hypothesis", ["premise", "hypothesis"]),
        ('"Yes, sure",No', ["Yes, sure", "No"]),
        ('["Yes, sure", "No"]', ["Yes, sure", "No"]),
        ("\u597d,\u574f", ["\u597d", "\u574f"]),
        ('5" disk,other', ['5" disk', "other"]),
    ],
)
def test_names_are_a_json_list_or_separated_by_commas_with_quotes(text, names):
    assert names_of(text, option="--label-names") == names


@pytest.mark.parametrize("text", ["", "a,,b", '"a,b', '["a"', "[1, 2]", "[]", '["a", ""]'])
def test_what_cannot_be_told_apart_is_refused(text):
    with pytest.raises(InputError, match="--label-names"):
        names_of(text, option="--label-names")
