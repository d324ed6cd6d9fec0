"""Keys and values of tokens that a language model has read, with room for those to come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch.nn import functional
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

ROOM = 16
"""Tokens that there is room for when states are copied: then every so many steps, not at each."""


class KeptStates(DynamicCache):
    """Keys and values of the blocks that run.

    Stock models ask their first block how many ``tokens`` were read; a subnet may skip that one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layer_class_to_replicate = _Layer
        self.tokens = 0

    @classmethod
    def joined(cls, several: Sequence[KeptStates]) -> KeptStates:
        """The rows of all, the shorter ones padded on the left."""
        if len(several) == 1:
            return several[0]
        tokens = max(each.tokens for each in several)
        return cls._of(tokens, [each.layers for each in several], _Grown.joined)

    def begun_by(self, paddings: Sequence[int]) -> KeptStates:
        """What this one row begins, for a row behind each of some paddings.

        As many tokens as were read: a row has padding, and behind it the first of them.
        """

        def rows(states: Sequence[_Grown]) -> _Grown:
            return states[0].behind([min(each, self.tokens) for each in paddings])

        return self._of(self.tokens, [self.layers], rows)

    def latest(self, layer: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Copies of a block's keys and values of the latest tokens; None where it keeps none."""
        kept: Any = self.layers[layer] if layer < len(self.layers) else None
        if kept is None or not kept.is_initialized:
            return None
        return kept.keys[..., -tokens:, :].clone(), kept.values[..., -tokens:, :].clone()

    @classmethod
    def _of(
        cls,
        tokens: int,
        sources: Sequence[Sequence[Any]],
        made: Callable[[Sequence[_Grown]], _Grown],
    ) -> Self:
        """New states, each ``made`` of those of its block in all ``sources``."""
        found = cls()
        found.tokens = tokens
        for layers in zip(*sources, strict=True):
            layer = _Layer()  # type: ignore[no-untyped-call]
            if layers[0].is_initialized:
                layer.take(
                    made([each.grown_keys for each in layers]),
                    made([each.grown_values for each in layers]),
                )
            found.layers.append(layer)
        return found

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002
        """Tokens of each row that were read before, padding included."""
        return self.tokens

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:  # noqa: ARG002
        """How many keys there are once so many tokens more are read, and the place of the first."""
        return self.tokens + query_length, 0


class _Grown:
    """States (rows, heads, tokens, channels) that more are written behind."""

    def __init__(self, states: torch.Tensor) -> None:
        self._tokens = 0
        self._buffer = _with_room(states, 0)
        self.append(states)

    @classmethod
    def joined(cls, several: Sequence[_Grown]) -> _Grown:
        """The rows of all, with zeros before the shorter ones."""
        tokens = max(each._tokens for each in several)
        return cls(
            torch.cat([functional.pad(s.states, (0, 0, tokens - s._tokens, 0)) for s in several])
        )

    def behind(self, zeros: Sequence[int]) -> _Grown:
        """A row for each of ``zeros``: so many, and the first states of this one, as long."""
        tokens = self._tokens
        padded = functional.pad(self.states, (0, 0, tokens, 0))
        return _Grown(
            torch.cat([padded[:, :, tokens - each : 2 * tokens - each] for each in zeros])
        )

    @property
    def states(self) -> torch.Tensor:
        """Without the room behind them."""
        return self._buffer[..., : self._tokens, :]

    def append(self, states: torch.Tensor) -> torch.Tensor:
        """All states, these the last."""
        end = self._tokens + states.shape[-2]
        if end > self._buffer.shape[-2]:
            kept, self._buffer = self.states, _with_room(states, self._tokens)
            self._buffer[..., : self._tokens, :] = kept
        self._buffer[..., self._tokens : end, :] = states
        self._tokens = end
        return self.states

    def select(self, rows: torch.Tensor) -> torch.Tensor:
        """The states of these rows, which are kept from here on."""
        self._buffer = self._buffer[rows]
        return self.states


class _Layer(DynamicLayer):  # type: ignore[no-untyped-call]
    """One block's keys and values."""

    grown_keys: _Grown
    grown_values: _Grown

    def take(self, keys: _Grown, values: _Grown) -> None:
        """Keep these."""
        self.grown_keys, self.grown_values = keys, values
        self.keys, self.values = keys.states, values.states
        self.dtype, self.device = self.keys.dtype, self.keys.device
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `DynamicLayer.update`."""
        if not self.is_initialized:
            self.take(_Grown(key_states), _Grown(value_states))
            return self.grown_keys.states, self.grown_values.states
        keys, values = self.grown_keys.append(key_states), self.grown_values.append(value_states)
        self.keys, self.values = keys, values
        return keys, values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """See `DynamicLayer.batch_select_indices`."""
        if self.is_initialized:
            self.keys = self.grown_keys.select(indices)
            self.values = self.grown_values.select(indices)


def _with_room(like: torch.Tensor, tokens: int) -> torch.Tensor:
    """A buffer for states ``like`` these behind ``tokens``, and for more of them."""
    *rows_and_heads, new, channels = like.shape
    return like.new_empty(*rows_and_heads, tokens + new + ROOM, channels)
