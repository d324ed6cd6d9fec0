"""How texts are written, and where they end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from elasticnas.tasks.beam_length import BeamLength

Decode = Callable[[list[list[int]]], list[str]]
"""What each row of token ids says, special tokens left out."""

SILENT = 8
"""So many of the latest tokens may say nothing by themselves."""


@dataclass(frozen=True)
class Decoding:
    """Greedily, or by the best of several ``beams``.

    A row ends with one of the tokens ``ends``, with one of the texts ``stop``, or after
    ``max_new_tokens``. ``beam_length`` says how beams that have ended are compared.
    """

    max_new_tokens: int
    ends: tuple[int, ...] = ()
    stop: tuple[str, ...] = ()
    beams: int = 1
    beam_length: BeamLength = BeamLength.ANSWER


def stops(rows: Sequence[list[int]], stop: Sequence[str], decode: Decode) -> list[bool]:
    """Whether the newest token of each row completes one of the texts ``stop``.

    A token that says something says a byte or more, so such a text began within as many tokens as
    it has bytes.
    """
    if not stop:
        return [False] * len(rows)
    recent = max(len(text.encode()) for text in stop) + SILENT
    said = decode([tokens[-recent:] for tokens in rows])
    return [any(text in each for text in stop) for each in said]


def cut(text: str, stop: Iterable[str]) -> str:
    """A text up to where the first of ``stop`` begins."""
    places = [text.find(each) for each in stop]
    return text[: min((place for place in places if place >= 0), default=len(text))]
