"""Reading rows of tokens on, one token at a time, with keys and values kept.

A row is given to the model once; after that a step costs one token a row. What all rows begin with,
such as few-shot examples and a template, is read once for all.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise, takewhile
from typing import Any, TypeVar, cast

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from elasticnas.supernet.forward.activation import ActiveSubnet
from elasticnas.supernet.measuring.batch_sizes import batch_sizes
from elasticnas.supernet.measuring.examples import CPU_BATCH_COST
from elasticnas.supernet.measuring.kept_states import KeptStates

Result = TypeVar("Result")

SHARED_FROM = 2 * CPU_BATCH_COST
"""Tokens that sharing must save: more than the call of the model that it costs."""


@dataclass(frozen=True)
class Prompts:
    """Rows of token ids, padded on the left: ids (rows, longest), and True where there is a token.

    ``is_token`` is None where all are. So many tokens that all rows begin with are to be
    ``shared``; each row has one behind them at least. Rows are read in ``parts`` of so many,
    without any all at once.
    """

    token_ids: torch.Tensor
    is_token: torch.Tensor | None
    shared: int = 0
    parts: tuple[int, ...] = ()

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], pad_id: int) -> Prompts:
        """These rows, on the CPU; they share what is worth a call of the model."""
        lengths = [len(row) for row in rows]
        longest = max(lengths)
        ids = torch.tensor([[*[pad_id] * (longest - len(row)), *row] for row in rows])
        shared = min(_begin_alike(rows), min(lengths) - 1)
        if shared * (len(rows) - 1) <= SHARED_FROM:
            shared = 0
        if min(lengths) == longest:
            return cls(ids, None, shared)
        padding = longest - torch.tensor(lengths)
        return cls(ids, torch.arange(longest) >= padding[:, None], shared)

    def in_parts(self, tokens: int, call_cost: int = CPU_BATCH_COST) -> Prompts:
        """These rows, to be read in parts of so many tokens at most, shared ones not counted.

        ``call_cost`` is what a call of the model costs besides its tokens, in tokens.
        """
        own = (self.lengths - self.shared).tolist()
        return replace(self, parts=tuple(batch_sizes(own, tokens, call_cost)))

    def split(self) -> list[Prompts]:
        """The parts, each padded to its own longest row."""
        if not self.parts:
            return [self]
        longest = self.token_ids.shape[1]
        found = []
        for begin, end in pairwise([0, *accumulate(self.parts)]):
            widths = self.lengths[begin:end]
            width = int(widths.max())
            ids = self.token_ids[begin:end, longest - width :]
            is_token = None
            if self.is_token is not None and int(widths.min()) < width:
                is_token = self.is_token[begin:end, longest - width :]
            found.append(Prompts(ids, is_token, self.shared))
        return found

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


def _begin_alike(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows begin with: as many as the least and the greatest of them."""
    listed = [list(row) for row in rows]
    pairs = zip(min(listed), max(listed), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


class TokenReader:
    """A language model that has read some rows, and says what may come behind each.

    ``logits`` (rows, vocabulary) are of the next token. Prompts are read in parts: larger matrices
    than a processor's caches hold are no faster, and need more memory. They are read by
    ``beginning`` (`ActiveSubnet.beginning`), if that is given.
    """

    def __init__(
        self, model: nn.Module, prompts: Prompts, beginning: nn.Module | None = None
    ) -> None:
        begin = model if beginning is None else beginning
        self._model = model
        takes = inspect.signature(type(model).forward).parameters
        self._takes_positions = "position_ids" in takes
        parts = prompts.split()
        self._is_token, self._lengths = prompts.is_token, prompts.lengths
        caches = self._begun(begin, parts)
        read = [
            self._read(
                begin,
                cache,
                part.token_ids[:, part.shared :],
                part.is_token,
                part.positions[:, part.shared :],
            )
            for cache, part in zip(caches, parts, strict=True)
        ]
        self.logits = torch.cat(read)
        self._cache = KeptStates.joined(caches)

    def read(self, token_ids: torch.Tensor) -> None:
        """One more token of each row, shape (rows,)."""
        if self._is_token is not None:
            self._is_token = functional.pad(self._is_token, (0, 1), value=True)
        self.logits = self._read(
            self._model, self._cache, token_ids[:, None], self._is_token, self._lengths[:, None]
        )
        self._lengths = self._lengths + 1

    def select(self, rows: torch.Tensor) -> None:
        """Go on with these of the rows, in this order; one row may come several times."""
        self._cache.batch_select_indices(rows)
        self._lengths, self.logits = self._lengths[rows], self.logits[rows]
        if self._is_token is not None:
            self._is_token = self._is_token[rows]

    def _begun(self, begin: nn.Module, parts: Sequence[Prompts]) -> list[KeptStates]:
        """The states of what the rows of all parts begin with.

        A row that is padded has less of it there: behind its padding it ends sooner, and what is
        left of it is read with the row's own tokens, in place of padding. So states stay where they
        are without sharing, and masks too.
        """
        if not (shared := parts[0].shared):
            return [KeptStates() for _ in parts]
        longest = parts[0].lengths.argmax()
        first = parts[0].token_ids[longest : longest + 1, :shared]
        prefix = KeptStates()
        self._read(begin, prefix, first, None, Prompts(first, None).positions)
        return [
            prefix.begun_by((part.token_ids.shape[1] - part.lengths).tolist()) for part in parts
        ]

    def _read(
        self,
        model: nn.Module,
        cache: KeptStates,
        token_ids: torch.Tensor,
        is_token: torch.Tensor | None,
        positions: torch.Tensor,
    ) -> torch.Tensor:
        given: dict[str, Any] = {"position_ids": positions} if self._takes_positions else {}
        output: Any = model(
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
