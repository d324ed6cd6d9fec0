"""What requests for lists may ask of the items."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from elasticnas.api_schemas.annotations import Tag
from elasticnas.api_schemas.fields import Identity, Name

TextSought = Annotated[
    Name | None,
    Query(min_length=1, description="part of a name, an id, the notes or a tag, in any case"),
]
TagSought = Annotated[Tag | None, Query(description="only what has this tag")]
IdSought = Annotated[Identity | None, Query(description="only what refers to this")]
NameSought = Annotated[Name | None, Query(description="only what is of this")]
