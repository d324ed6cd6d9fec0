"""Prompts: texts with places for the columns of a row. No code runs, whatever they say."""

from __future__ import annotations

import string
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from elasticnas.api_schemas.problems import InputError

CHOICE = "choice"
"""The placeholder that is no column: the choice itself."""
MOST_PLACEHOLDERS = 100
"""In one prompt: a long text in thousands of them would fill a worker's memory."""


@dataclass(frozen=True)
class Prompt:
    """A text in which ``{column}`` is the row's text in this column, ``{{`` and ``}}`` are braces.

    A placeholder is the name of a column and nothing else: no attribute or index of it, no
    conversion, no format.
    """

    text: str

    @cached_property
    def parts(self) -> tuple[tuple[str, str | None], ...]:
        """Literal texts, each with the column behind it; None at the end.

        Raises:
            ValueError: braces do not match, or a placeholder says more than a name.
        """
        parts = []
        for literal, column, form, conversion in string.Formatter().parse(self.text):
            if form or conversion or (column is not None and not column.strip()):
                raise ValueError(
                    "a placeholder is the name of a column in braces, such as {question}, and "
                    "nothing else; a brace of the text is written twice"
                )
            parts.append((literal, column))
        if len(parts) > MOST_PLACEHOLDERS:
            raise ValueError(f"a prompt has at most {MOST_PLACEHOLDERS} placeholders and braces")
        return tuple(parts)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names, each once."""
        return tuple(dict.fromkeys(column for _, column in self.parts if column is not None))

    def fill(self, row: Mapping[str, str]) -> str:
        """The prompt of one row."""
        return "".join(
            literal + ("" if column is None else row[column]) for literal, column in self.parts
        )

    def require_columns(self, columns: Collection[str], field: str) -> None:
        """Every placeholder is one of ``columns``.

        Raises:
            InputError: about ``field``, naming a placeholder that is not.
        """
        for column in self.columns:
            if column not in columns:
                raise InputError(
                    "the dataset has no text column of this name",
                    field=field,
                    value=f"{{{column}}}",
                    remedy="its columns are "
                    + ", ".join(f"{{{name}}}" for name in columns)
                    + "; a brace of the text itself is written twice",
                )
