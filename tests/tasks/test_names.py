"""Several names in one form field, or in one option of the command line."""

from __future__ import annotations

import pytest

from elasticnas.api_schemas.problems import InputError
from elasticnas.tasks.names import as_field, names_given


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("sentence", ["sentence"]),
        ("premise, hypothesis", ["premise", "hypothesis"]),
        ('"Yes, sure",No', ["Yes, sure", "No"]),
        ('["Yes, sure", "No"]', ["Yes, sure", "No"]),
        ("\u597d,\u574f", ["\u597d", "\u574f"]),
        ('5" disk,other', ['5" disk', "other"]),
        ("[NEG],[POS]", ["[NEG]", "[POS]"]),
    ],
)
def test_names_are_a_json_array_or_separated_by_commas_with_quotes(text, names):
    assert names_given([text], "label_names") == names
    assert names_given([as_field(names)], "label_names") == names


@pytest.mark.parametrize("text", ["", "a,,b", '"a,b', '["a"', "[1, 2]", "[]", '["a", ""]', "a,a"])
def test_what_cannot_be_told_apart_is_refused(text):
    with pytest.raises(InputError, match="label_names"):
        names_given([text], "label_names")
