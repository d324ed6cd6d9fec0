"""What users write on their things: a name, notes and tags."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
)

from elasticnas.api_schemas.fields import Name, storable

MAX_NOTES = 10_000
MAX_TAGS = 20
MAX_TAG = 50


def _storable(text: str) -> str:
    if storable(text) != text:
        raise ValueError("this text holds a NUL character, which cannot be stored; leave it out")
    return text


def _different(tags: list[str]) -> list[str]:
    if len(set(tags)) < len(tags):
        raise ValueError("tags must differ from each other")
    return tags


Notes = Annotated[str, Field(max_length=MAX_NOTES), AfterValidator(_storable)]

Tag = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TAG),
    Field(pattern=r"^[^\x00-\x1f\x7f,]*$"),
]
"""A word or a few, without commas and control characters."""

Tags = Annotated[list[Tag], Field(max_length=MAX_TAGS), AfterValidator(_different)]


class SearchPatch(BaseModel):
    """Body of a PATCH: what it leaves out stays as it is, and null is none."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    notes: Notes | None = None
    tags: Tags = Field(default_factory=list)


class NamedPatch(SearchPatch):
    """As `SearchPatch`, of what must have a name."""

    @field_validator("name")
    @classmethod
    def _is_named(cls, name: str | None) -> str:
        if not name:
            raise ValueError("this must have a name; leave the field out to keep the one it has")
        return name
