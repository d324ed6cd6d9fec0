"""What tasks of language models have in common: rows that a prompt is filled with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.supernets import HeadKind
from elasticnas.tasks.items import Scored, TextEncoder, encode_pairs
from elasticnas.tasks.rows import Rows
from elasticnas.tasks.settings import FIELD, PromptSettings, validated
from elasticnas.tasks.task import RowsOfDataset, Task


class PromptedTask(Task):
    """A task whose settings are `PromptSettings`: measured on what comes behind a prompt.

    ``placeholders`` are what a prompt may name besides columns.
    """

    head = HeadKind.CAUSAL_LM
    most_texts = None
    settings_type: ClassVar[type[PromptSettings]] = PromptSettings
    placeholders: ClassVar[tuple[str, ...]] = ()

    def settle(self, given: Mapping[str, Any], rows: RowsOfDataset) -> PromptSettings:
        """With the only column of texts for a prompt where none is given.

        Raises:
            InputError: a placeholder is none of the columns, or an example lacks one.
        """
        settings = validated(self.settings_type, given)
        if settings.prompt is None:
            if len(rows.columns) > 1:
                listed = ", ".join(f"{{{name}}}" for name in rows.columns)
                raise InputError(
                    "a dataset with several text columns needs a prompt",
                    field=f"{FIELD}/prompt",
                    remedy=f"write a text with some of {listed}",
                )
            name = rows.columns[0]
            settings = validated(self.settings_type, {**given, "prompt": f"{{{name}}}"})
        known = (*rows.columns, *self.placeholders)
        settings.asked.require_columns(known, f"{FIELD}/prompt")
        for number, example in enumerate(settings.examples):
            for name in settings.asked.columns:
                if name not in example.row:
                    raise InputError(
                        "the example's row lacks a column that the prompt names",
                        field=f"{FIELD}/examples/{number}/row",
                        value=name,
                        remedy=f"say what stands for {{{name}}} in it",
                    )
        return settings

    def taught(
        self, rows: Rows, settings: Any, encoder: TextEncoder, max_length: int, end: int
    ) -> list[Scored]:
        """See `Task.taught`."""
        pairs = [self.answered(rows, settings, index) for index in range(len(rows))]
        scored = encode_pairs(pairs, encoder, add_bos=settings.add_bos, max_length=max_length - 1)
        return [replace(each, tokens=(*each.tokens, end)) for each in scored]

    def answered(self, rows: Rows, settings: Any, index: int) -> tuple[str, str]:
        """The context of a row and its right answer, here the label as text."""
        return settings.context(rows.row(index)), settings.between + str(rows.labels[index])
