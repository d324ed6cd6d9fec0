"""Several names in one option of the command line, written as REST's form fields are."""

from __future__ import annotations

import csv
import json

from api_schemas.problems import InputError


def names_of(text: str, *, option: str) -> list[str]:
    """The names in a text: a JSON list, or separated by commas.

    A name that holds a comma stands in double quotes, as in CSV: ``"Yes, sure",No``.

    Raises:
        InputError: a name is empty, or the quotes or the JSON are not closed.
    """
    try:
        if text.lstrip().startswith("["):
            found = json.loads(text)
        else:
            [found] = csv.reader([text], skipinitialspace=True, strict=True)
    except (ValueError, RecursionError, csv.Error):
        found = []
    names = [each.strip() for each in found if isinstance(each, str)]
    if not names or not all(names) or len(names) < len(found):
        raise InputError(
            "these are no names that can be told apart",
            field=option,
            value=text,
            remedy='write a,b or "a, b",c or ["a, b", "c"]',
        )
    return names
