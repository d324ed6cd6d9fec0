"""What becomes of each option that a checkpoint's config files can hold.

The files come from other libraries, whose next release may write an option that changes the
arithmetic. So an option is never dropped in silence: a table says of each known one whether it is
honoured, refused or without effect, and one that the table does not know is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from elasticnas.api_schemas.problems import InputError

_SHOWN = 100
"""Characters of a value that an error shows: some options are whole objects."""


class Treatment(StrEnum):
    """What is done with an option."""

    HONOURED = "honoured"
    REFUSED = "refused"
    WITHOUT_EFFECT = "without effect"


@dataclass(frozen=True)
class Option:
    """One option of a config file.

    ``note`` says what it changes, for the table in ``docs/formats.md`` and for errors. A refused
    option may have values that are read all the same (``accepted``); null, false, zero and empty
    values, and objects that hold nothing else, switch it off and are always read. ``remedy`` is
    what to do about a refusal.
    """

    treatment: Treatment
    note: str
    accepted: tuple[Any, ...] = ()
    remedy: str | None = None

    @property
    def verdict(self) -> str:
        """The treatment with its exceptions, e.g. ``refused unless none``."""
        if not self.accepted:
            return self.treatment.value
        return f"{self.treatment.value} unless {', '.join(_shown(v) for v in self.accepted)}"

    def refuses(self, value: object) -> bool:
        """Whether this value of the option is refused."""
        if self.treatment is not Treatment.REFUSED or _switches_off(value):
            return False
        lowered = value.lower() if isinstance(value, str) else value
        return not any(
            type(lowered) is type(known) and lowered == known
            for known in (v.lower() if isinstance(v, str) else v for v in self.accepted)
        )

    def refusal(self, value: object, *, field: str) -> InputError:
        """The error for a value that the option refuses; ``field`` names it."""
        return InputError(
            f"this value is not read: {self.note}",
            field=field,
            value=_shown(value),
            remedy=self.remedy,
        )


def honoured(note: str) -> Option:
    """An option that does what its library says."""
    return Option(Treatment.HONOURED, note)


def refused(note: str, remedy: str, *, accepted: tuple[Any, ...] = ()) -> Option:
    """An option that is refused, save for its ``accepted`` values."""
    return Option(Treatment.REFUSED, note, accepted, remedy)


def without_effect(note: str) -> Option:
    """An option that changes nothing in what a subnet computes or costs."""
    return Option(Treatment.WITHOUT_EFFECT, note)


def is_off(value: object) -> bool:
    """Whether a value leaves an option switched off."""
    return value is None or value is False or value in ("", [], {})


def _switches_off(value: object) -> bool:
    """Whether a value leaves an option switched off whose meaning is known."""
    parts = value.values() if isinstance(value, dict) else [value]
    return all(is_off(part) or (type(part) in (int, float) and part == 0) for part in parts)


def check_options(content: Mapping[str, Any], table: Mapping[str, Option], *, field: str) -> None:
    """Hold the options of one file against their table.

    Raises:
        InputError: one is refused, or is not in the table and not switched off.
    """
    for name, value in content.items():
        option = table.get(name)
        if option is None and not is_off(value):
            raise InputError(
                "this option is not known here, and may change what the model computes",
                field=f"{field}/{name}",
                value=_shown(value),
                remedy="take it out of the file if the model computes the same without it",
            )
        if option is not None and option.refuses(value):
            raise option.refusal(value, field=f"{field}/{name}")


def _shown(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
