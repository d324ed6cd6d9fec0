"""A tokenizer as tasks use it: `elasticnas.tasks.items.TextEncoder`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from transformers import PreTrainedTokenizerBase

from elasticnas.api_schemas.problems import InputError


class TokenizerEncoder:
    """Token ids of texts that more text follows, or that nothing is between."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer

    @property
    def begins_with(self) -> int:
        """The first token of a text, or else the last: what lm-eval puts before nothing.

        Raises:
            InputError: the tokenizer has neither.
        """
        first = self._tokenizer.bos_token_id
        found = self._tokenizer.eos_token_id if first is None else first
        if found is None:
            raise InputError(
                "the tokenizer has neither a first nor a last token of a text, and a context is "
                "empty",
                field="task_settings/prompt",
                remedy="write a prompt that is never empty",
            )
        return int(found)

    def __call__(self, texts: Sequence[str], *, add_bos: bool | None) -> list[list[int]]:
        """See `TextEncoder`.

        Raises:
            InputError: ``add_bos`` is true, and the tokenizer has no such token.
        """
        plain = self._ids(texts)
        first = self._first if add_bos is None else (self._bos if add_bos else [])
        return [[*first, *ids] for ids in plain]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        encoded = self._tokenizer(
            list(texts), add_special_tokens=False, padding=False, return_attention_mask=False
        )
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    @cached_property
    def _first(self) -> list[int]:
        """What the tokenizer by itself puts before a text."""
        with_special = [int(each) for each in self._tokenizer("a")["input_ids"]]
        (plain,) = self._ids(["a"])
        for start in range(len(with_special) - len(plain) + 1):
            if with_special[start : start + len(plain)] == plain:
                return with_special[:start]
        return []

    @property
    def _bos(self) -> list[int]:
        if (token := self._tokenizer.bos_token_id) is None:
            raise InputError(
                "the tokenizer has no first token of a text",
                field="task_settings/add_bos",
                value=True,
                remedy="leave add_bos out",
            )
        return [int(token)]
