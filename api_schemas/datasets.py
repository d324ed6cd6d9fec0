"""Validation data as REST shows it."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field, JsonValue


class ClassCount(BaseModel):
    """How many rows are of a class; ``name`` is its label where labels are text."""

    label: int
    name: str | None
    rows: int


class DatasetRead(BaseModel):
    """A registered dataset.

    ``num_labels`` is one more than the largest class for classification, the most choices of a row
    for multiple choice, 1 for others.
    ``label_names`` are there when the labels were text. ``label_names_given`` is true when the
    user gave them: then class i is ``label_names[i]``. Else they are the labels that the rows have,
    sorted; a search finds their classes by the super-network's own names.

    ``choices_columns`` are where each row's choices come from, ``kind`` is what the file was said
    to be. ``task_settings`` are what searches measure by unless they say otherwise.
    """

    id: str
    name: str
    notes: str | None = None
    tags: list[str] = Field(default_factory=list)
    task: str
    metric: str
    rows: int
    text_columns: list[str]
    label_column: str | None
    num_labels: int
    label_names: list[str] | None
    label_names_given: bool = False
    kind: str | None = None
    choices_columns: list[str] | None = None
    task_settings: dict[str, JsonValue] = Field(default_factory=dict)
    class_counts: list[ClassCount] | None = Field(
        default=None,
        description="null where labels are no classes, and of a dataset of an earlier version",
    )
    digest: str
    created_at: datetime
