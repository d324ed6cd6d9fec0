"""Notes and tags of rows, and changing them."""

from __future__ import annotations

from sqlalchemy import Text
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from elasticnas.api_schemas.annotations import SearchPatch


class TagList(TypeDecorator[list[str]]):
    """Tags as a text that SQL can look into: each between line breaks, which no tag holds."""

    impl = Text()
    cache_ok = True

    def process_bind_param(self, value: list[str] | None, _dialect: Dialect) -> str:
        """Each tag on a line, after an empty one."""
        return "".join(f"\n{tag}" for tag in value) + "\n" if value else ""

    def process_result_value(self, value: str | None, _dialect: Dialect) -> list[str]:
        """The lines that are not empty."""
        return [tag for tag in (value or "").split("\n") if tag]


class Annotatable:
    """A table whose rows users write on."""

    notes: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[list[str]] = mapped_column(TagList, default=list, server_default="")


def annotate(row: Annotatable, patch: SearchPatch) -> None:
    """Change what the request says, and nothing else."""
    for field in patch.model_fields_set:
        setattr(row, field, getattr(patch, field))
