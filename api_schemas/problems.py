"""RFC 9457 problem documents, with the one exception that every room raises for bad input."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from elasticnas.api_schemas.fields import storable

SHOWN_CHARACTERS = 1000
"""How much of a value, or of what names it, an error shows: a file may hold megabytes."""


class FieldError(BaseModel):
    """One thing that is wrong with a request.

    ``pointer`` is a JSON pointer into the body (RFC 6901), a form field, or the name of the file,
    tensor or key inside an uploaded checkpoint.
    """

    pointer: str
    detail: str
    value: str | None = None


class Problem(BaseModel):
    """``application/problem+json`` (RFC 9457). Extra members are allowed, as the RFC says."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[FieldError] = Field(default_factory=list)


class InputError(ValueError):
    """Something the user gave cannot be used.

    Raised where the cause is known, in any room; the service turns it into a 422 problem document
    and the command line into one line with exit code 2.

    Args:
        detail: what is wrong, as a sentence that ends without a remedy.
        field: the request field, file, tensor or configuration key at fault.
        value: what was found there.
        remedy: what the user can do about it.
    """

    def __init__(
        self, detail: str, *, field: str, value: object | None = None, remedy: str | None = None
    ) -> None:
        self.detail = detail
        self.field = _shown(field)
        self.value = None if value is None else _shown(str(value))
        self.remedy = remedy
        super().__init__(self.sentence())

    def sentence(self) -> str:
        """The whole message on one line: field, value, cause, remedy."""
        found = f" (found {self.value})" if self.value is not None else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.field}: {self.detail}{found}{remedy}"

    def as_problem(self, *, title: str, kind: str, status: int = 422) -> Problem:
        """This error as a problem document of ``/problems/<kind>``.

        What JSON or a database cannot hold is replaced: the value may come from a hostile file.
        """
        return Problem(
            type=f"/problems/{kind}",
            title=title,
            status=status,
            detail=storable(self.sentence()),
            errors=[
                FieldError(
                    pointer=storable(self.field),
                    detail=storable(self.detail),
                    value=None if self.value is None else storable(self.value),
                )
            ],
        )


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."
