"""Reading rows of tokens on, one token at a time, with keys and values kept.

A row is given to the model once; after that a step costs one token a row.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional
from transformers import DynamicCache

from elasticnas.supernet.forward.activation import ActiveSubnet

Result = TypeVar("Result")


@dataclass(frozen=True)
class Prompts:
    """Rows of token ids, padded on the left: ids (rows, longest), and True where there is a token.

    ``is_token`` is None where all are.
    """

    token_ids: torch.Tensor
    is_token: torch.Tensor | None

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], pad_id: int) -> Prompts:
        """These rows, on the CPU."""
        lengths = [len(row) for row in rows]
        longest = max(lengths)
        ids = torch.tensor([[*[pad_id] * (longest - len(row)), *row] for row in rows])
        if min(lengths) == longest:
            return cls(ids, None)
        padding = longest - torch.tensor(lengths)
        return cls(ids, torch.arange(longest) >= padding[:, None])

    def split(self, tokens: int) -> list[Prompts]:
        """Rows that are beside each other, in parts of about so many tokens, each less padded."""
        lengths, longest = self.lengths.tolist(), self.token_ids.shape[1]
        parts = []
        begin = 0
        while begin < len(lengths):
            width, end = 0, begin
            while end < len(lengths):
                wider = max(width, lengths[end])
                if end > begin and wider * (end + 1 - begin) > tokens:
                    break
                width, end = wider, end + 1
            ids = self.token_ids[begin:end, longest - width :]
            is_token = None
            if self.is_token is not None and min(lengths[begin:end]) < width:
                is_token = self.is_token[begin:end, longest - width :]
            parts.append(Prompts(ids, is_token))
            begin = end
        return parts

    @property
    def lengths(self) -> torch.Tensor:
        """The tokens of each row, shape (rows,)."""
        if self.is_token is not None:
            return self.is_token.sum(1)
        return torch.full_like(self.token_ids[:, 0], self.token_ids.shape[1])

    @property
    def positions(self) -> torch.Tensor:
        """The position of each token in its row, shape (rows, longest); of padding 0."""
        if self.is_token is not None:
            return (self.is_token.cumsum(1) - 1).clamp(min=0)
        tokens = self.token_ids.shape[1]
        return torch.arange(tokens, device=self.token_ids.device).expand_as(self.token_ids)


class TokenReader:
    """A language model that has read some rows, and says what may come behind each.

    ``logits`` (rows, vocabulary) are of the next token. Prompts are read ``at_once`` tokens at a
    time: larger matrices than a processor's caches hold are no faster, and need more memory.
    """

    def __init__(self, model: nn.Module, prompts: Prompts, at_once: int | None = None) -> None:
        self._model = model
        takes = inspect.signature(type(model).forward).parameters
        self._takes_positions = "position_ids" in takes
        parts = [prompts] if at_once is None else prompts.split(at_once)
        self._is_token, self._lengths = prompts.is_token, prompts.lengths
        caches = [_Cache() for _ in parts]
        read = [
            self._read(cache, part.token_ids, part.is_token, part.positions)
            for cache, part in zip(caches, parts, strict=True)
        ]
        self.logits = torch.cat(read)
        self._cache = _Cache.joined(caches)

    def read(self, token_ids: torch.Tensor) -> None:
        """One more token of each row, shape (rows,)."""
        if self._is_token is not None:
            self._is_token = functional.pad(self._is_token, (0, 1), value=True)
        self.logits = self._read(
            self._cache, token_ids[:, None], self._is_token, self._lengths[:, None]
        )
        self._lengths = self._lengths + 1

    def select(self, rows: torch.Tensor) -> None:
        """Go on with these of the rows, in this order; one row may come several times."""
        self._cache.batch_select_indices(rows)
        self._lengths, self.logits = self._lengths[rows], self.logits[rows]
        if self._is_token is not None:
            self._is_token = self._is_token[rows]

    def _read(
        self,
        cache: _Cache,
        token_ids: torch.Tensor,
        is_token: torch.Tensor | None,
        positions: torch.Tensor,
    ) -> torch.Tensor:
        given: dict[str, Any] = {"position_ids": positions} if self._takes_positions else {}
        output: Any = self._model(
            input_ids=token_ids,
            attention_mask=None if is_token is None else is_token.long(),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            **given,
        )
        cache.tokens += token_ids.shape[1]
        return cast(torch.Tensor, output.logits[:, -1])


def running(active: ActiveSubnet, run: Callable[[nn.Module], Result]) -> Result:
    """What ``run`` gives for the subnet's model, which has the subnet's tensors meanwhile."""
    tensors = {f"model.{name}": tensor for name, tensor in active.tensors.items()}
    caller = _Caller(active.model, run)
    return cast(Result, functional_call(caller, tensors, (), tie_weights=False))


class _Caller(nn.Module):
    """Calls a function on a model, so that tensors are exchanged once for many steps."""

    def __init__(self, model: nn.Module, run: Callable[[nn.Module], Any]) -> None:
        super().__init__()
        self.model = model
        self.run = run

    def forward(self) -> Any:
        """What the function gives."""
        return self.run(self.model)


class _Cache(DynamicCache):
    """Keys and values of the blocks that run.

    Stock models ask their first block how many ``tokens`` were read; a subnet may skip that one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tokens = 0

    @classmethod
    def joined(cls, caches: Sequence[_Cache]) -> _Cache:
        """One cache of the rows of all, the shorter ones padded on the left."""
        if len(caches) == 1:
            return caches[0]
        together = cls()
        together.tokens = max(cache.tokens for cache in caches)
        layers: tuple[Any, ...]
        for place, layers in enumerate(zip(*(cache.layers for cache in caches), strict=True)):
            if layers[0].is_initialized:
                keys = [_reaching(layer.keys, together.tokens) for layer in layers]
                values = [_reaching(layer.values, together.tokens) for layer in layers]
                together.update(torch.cat(keys), torch.cat(values), place)
        return together

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002
        """Tokens of each row that were read before, padding included."""
        return self.tokens

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:  # noqa: ARG002
        """How many keys there are once so many tokens more are read, and the place of the first."""
        return self.tokens + query_length, 0


def _reaching(states: torch.Tensor, tokens: int) -> torch.Tensor:
    """Keys or values (rows, heads, some tokens, channels), padded on the left to ``tokens``."""
    return functional.pad(states, (0, 0, tokens - states.shape[-2], 0))
