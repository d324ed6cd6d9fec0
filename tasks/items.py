"""What of a row is run and scored: token ids, which no torch is needed for.

Tokens are counted as lm-eval 0.4 counts them (``lm_eval.api.model.TemplateLM._encode_pair``): white
space at the end of a context belongs to the continuation; both together and the context alone are
encoded, and the continuation is what the one has more than the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from elasticnas.api_schemas.problems import InputError


@dataclass(frozen=True)
class Scored:
    """Token ids, of which those from ``first`` on are scored, each given all before it.

    The last token is foretold only, so a model is run on one token less. ``first`` is 1 at least.
    """

    tokens: tuple[int, ...]
    first: int

    @property
    def count(self) -> int:
        """How many tokens are scored."""
        return len(self.tokens) - self.first


Item = tuple[Scored, ...]
"""What is scored of one row. What its sequences begin with alike is run once."""


class TextEncoder(Protocol):
    """A tokenizer, of which no more is known than this."""

    @property
    def begins_with(self) -> int:
        """The token that stands before an empty context: the first of a text, or else the last.

        Raises:
            InputError: the tokenizer has neither.
        """
        ...

    def __call__(self, texts: Sequence[str], *, add_bos: bool | None) -> list[list[int]]:
        """The token ids of texts; with the first token of a text if so said, None: as it is used
        to. What a tokenizer puts behind a text is left out: more text follows.

        Raises:
            InputError: the tokenizer has no such token.
        """
        ...


EMPTY: Item = (Scored((0, 0), 2),)
"""What stands for a text without tokens: any token is run, and none is scored."""


def encode_pairs(
    pairs: Sequence[tuple[str, str]],
    encoder: TextEncoder,
    *,
    add_bos: bool | None,
    max_length: int,
) -> list[Scored]:
    """Each context with the continuation that is scored behind it.

    Of a context that is too long, its last tokens are kept: so many that the model is run on
    ``max_length`` tokens.

    Raises:
        InputError: a continuation is longer than that by itself, or has no token.
    """
    moved = [_spaces_moved(*pair) for pair in pairs]
    contexts = list(dict.fromkeys(context for context, _ in moved))
    encoded = dict(zip(contexts, encoder(contexts, add_bos=add_bos), strict=True))
    wholes = encoder([context + rest for context, rest in moved], add_bos=add_bos)
    return [
        _scored(encoded[context], whole, rest, encoder, max_length)
        for (context, rest), whole in zip(moved, wholes, strict=True)
    ]


def windows(tokens: Sequence[int], begin: Sequence[int], window: int) -> Item:
    """A long text, cut into pieces of ``window`` tokens with ``begin`` before each.

    All tokens of the text are scored; without a ``begin``, all but the first of each piece.
    """
    pieces = [tokens[start : start + window] for start in range(0, len(tokens), window)]
    return tuple(
        Scored((*begin, *piece), max(len(begin), 1))
        for piece in pieces
        if len(begin) + len(piece) > 1
    )


def rolling_windows(tokens: Sequence[int], encoder: TextEncoder, window: int) -> Item:
    """A long text, cut into pieces of ``window`` tokens, each behind the token before it.

    lm-eval's ``get_rolling_token_windows`` with a context of one token, and
    ``make_disjoint_window``: the first piece stands behind ``encoder.begins_with``, the last one
    behind as much of the text as fills the window, and all tokens are scored once.
    """
    text, pieces = (encoder.begins_with, *tokens), []
    for start in range(0, len(tokens), window):
        last = min(start + window, len(tokens))
        begin = max(last - window, 0)
        pieces.append(Scored(text[begin : last + 1], start - begin + 1))
    return tuple(pieces)


def _spaces_moved(context: str, continuation: str) -> tuple[str, str]:
    kept = context.rstrip()
    return kept, context[len(kept) :] + continuation


def _scored(
    context: Sequence[int], whole: Sequence[int], rest: str, encoder: TextEncoder, max_length: int
) -> Scored:
    if not context:
        context, whole = (encoder.begins_with,), (encoder.begins_with, *whole)
    count = len(whole) - len(context)
    if count > max_length:
        raise InputError(
            f"a continuation has {count} tokens, and is never cut",
            field="max_length",
            value=rest[:100],
            remedy=f"raise max_length to {count} at least",
        )
    if count < 1:
        raise InputError(
            "the continuation has no token of its own behind its context", field="text", value=rest
        )
    kept = tuple(whole[-(max_length + 1) :])
    return Scored(kept, len(kept) - count)
