"""What a search may say of how its task is measured: settings, checked before any work.

Every task has a model of its settings, `Task.settings_type`. A search gives them as
``task_settings``; they are part of its conditions, so other settings never share an answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from elasticnas.api_schemas.fields import MAX_NAME, storable
from elasticnas.api_schemas.problems import InputError
from elasticnas.tasks.prompt import Prompt
from elasticnas.tasks.templates import PROMPT_TEMPLATES

FIELD = "task_settings"
"""What a search calls them, and where problems of them point to."""
LONGEST_TEXT = 100_000
"""Characters of a prompt, or of an example."""
LONGEST_SETTINGS = 500_000
"""Characters of all settings as JSON: they go with every message, and examples before every row."""


def _storable(text: str) -> str:
    if storable(text) != text:
        raise ValueError("this text holds a NUL character or half a character; leave it out")
    return text


def _prompt(text: str) -> str:
    Prompt(text).parts  # noqa: B018  (it raises what is wrong)
    return text


def _template(name: str) -> str:
    PROMPT_TEMPLATES.find(name, field="template")
    return name


Text = Annotated[str, Field(max_length=LONGEST_TEXT), AfterValidator(_storable)]
PromptText = Annotated[Text, AfterValidator(_prompt)]
TemplateName = Annotated[str, Field(max_length=MAX_NAME), AfterValidator(_template)]


class TaskSettings(BaseModel):
    """The settings of a task; this one has none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def said(self) -> dict[str, Any]:
        """What is kept of them, as JSON: all that differ from the defaults."""
        return self.model_dump(mode="json", exclude_defaults=True)


Settings = TypeVar("Settings", bound=TaskSettings)


class FewShotExample(BaseModel):
    """A row that stands before the one that is asked about, and its answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: Annotated[dict[Text, Text], Field(max_length=100)]
    answer: Text


class PromptSettings(TaskSettings):
    """How a row becomes the text that a language model is asked to go on with.

    The text is the ``examples``, each a prompt, the ``delimiter`` and its answer, with
    ``example_separator`` behind each; then the prompt of the row. What is scored or generated
    follows behind one more ``delimiter``.
    """

    prompt: PromptText | None = Field(
        default=None,
        description="{column} is the row's text in a column of the dataset, {{ and }} are braces; "
        "default: the only text column, as it is",
    )
    template: TemplateName | None = Field(
        default=None,
        description="a published layout around the prompt, which is its instruction: "
        + ", ".join(PROMPT_TEMPLATES),
    )
    delimiter: Annotated[Text, Field(max_length=1000)] | None = Field(
        default=None,
        description="what stands between prompt and answer; default: one space, or nothing where "
        "a template is named, which says it itself",
    )
    examples: Annotated[tuple[FewShotExample, ...], Field(max_length=100)] = ()
    example_separator: Annotated[Text, Field(max_length=1000)] = "\n\n"
    add_bos: bool | None = Field(
        default=None,
        description="whether the text begins with the tokenizer's first token; null: as the "
        "tokenizer does by itself",
    )

    @property
    def between(self) -> str:
        """What stands between prompt and answer."""
        if self.delimiter is not None:
            return self.delimiter
        return " " if self.template is None else ""

    @property
    def asked(self) -> Prompt:
        """The prompt, which `Task.settle` has filled in where none was given."""
        assert self.prompt is not None
        return Prompt(self.prompt)

    def context(self, row: Mapping[str, str]) -> str:
        """The whole text before the delimiter and the answer to this row."""
        before = "".join(
            self._around(each.row) + self.between + each.answer + self.example_separator
            for each in self.examples
        )
        return before + self._around(row)

    def _around(self, row: Mapping[str, str]) -> str:
        filled = self.asked.fill(row)
        return filled if self.template is None else PROMPT_TEMPLATES[self.template].around(filled)


def validated(kind: type[Settings], given: Mapping[str, Any]) -> Settings:
    """The settings that a user gave, checked.

    Raises:
        InputError: about ``task_settings/...``: the first mistake, and what is valid.
    """
    try:
        kind.model_validate(dict(given))
        # Strict, true is no number and "3" none either. As JSON, a list may still be a tuple.
        settings = kind.model_validate_json(json.dumps(dict(given)), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = "/".join(str(part) for part in (FIELD, *first["loc"]))
        detail, value = first["msg"].removeprefix("Value error, "), first.get("input")
        if first["type"] == "extra_forbidden":
            names = ", ".join(kind.model_fields)
            valid = f"valid are {names}" if names else "this task has no settings"
            raise InputError(f"there is no such setting; {valid}", field=where) from error
        if first["type"] == "missing":
            raise InputError("this setting is required", field=where) from error
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, InputError):
            raise InputError(
                cause.detail, field=where, value=cause.value, remedy=cause.remedy
            ) from error
        raise InputError(detail, field=where, value=value) from error
    if (length := len(settings.model_dump_json())) > LONGEST_SETTINGS:
        raise InputError(
            f"all settings together have {length} characters, and may have {LONGEST_SETTINGS}",
            field=FIELD,
            remedy="give fewer or shorter examples",
        )
    return settings
