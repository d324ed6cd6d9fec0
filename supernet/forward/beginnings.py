"""Blocks that read the beginnings of texts: their keys and values are kept for what comes behind.

What comes behind is read by the blocks as they are. Here the last block, of whose outcome nothing
is needed but the last token's, computes keys and values of the others and no more. And a block
whose outcome is known from another subnet puts into the cache what that one put there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import nn

from elasticnas.supernet.families.family import KeysAndValues
from elasticnas.supernet.forward.blocks import with_forward
from elasticnas.supernet.measuring.kept_states import KeptStates

BlockStates = tuple[torch.Tensor, torch.Tensor] | None
"""Keys and values, both (rows, heads, tokens, head size); of a block without attention None."""


def for_last_token(block: nn.Module, place: int, keys_and_values: KeysAndValues) -> nn.Module:
    """A block that returns the hidden state of each row's last token alone, (rows, 1, hidden).

    ``place`` is the block's in the cache.
    """
    return with_forward(block, partial(_on_last_token, block, place, keys_and_values))


def tokenwise_for_last_token(block: nn.Module) -> nn.Module:
    """As `for_last_token`, of a block without attention, in which no token sees another."""
    return with_forward(block, partial(_last_token_alone, block))


def keeping(block: nn.Module, place: int, states: Iterator[BlockStates]) -> nn.Module:
    """A block that is not run, and keeps ``states``, which it would have made, call by call."""
    return with_forward(block, partial(_keep, block.forward, place, states))


def showing_states(block: nn.Module, place: int, see: Callable[[BlockStates], object]) -> nn.Module:
    """A block that also shows the keys and values of what it reads: copies, for a cache grows."""
    return with_forward(block, partial(_show_states, block.forward, place, see))


def _on_last_token(
    block: nn.Module,
    place: int,
    keys_and_values: KeysAndValues,
    hidden: torch.Tensor,
    **named: Any,
) -> object:
    if hidden.shape[1] > 1:
        before = _narrowed(named, slice(None, -1))
        states = keys_and_values(block, hidden[:, :-1], before)
        _cache(named).update(*states, place)
    return _last_token_alone(block, hidden, **named)


def _last_token_alone(block: nn.Module, hidden: torch.Tensor, **named: Any) -> object:
    return block.forward(hidden[:, -1:], **_narrowed(named, slice(-1, None)))


def _narrowed(named: Mapping[str, Any], tokens: slice) -> dict[str, Any]:
    """What a block is called with for some of the tokens alone."""
    narrowed = dict(named)
    if (mask := named.get("attention_mask")) is not None:  # (rows, 1, tokens, keys)
        narrowed["attention_mask"] = mask[:, :, tokens]
    if (positions := named.get("position_ids")) is not None:
        narrowed["position_ids"] = positions[:, tokens]
    if (rotation := named.get("position_embeddings")) is not None:
        narrowed["position_embeddings"] = tuple(each[:, tokens] for each in rotation)
    return narrowed


def _keep(
    skip: Callable[..., Any],
    place: int,
    states: Iterator[BlockStates],
    *given: Any,
    **named: Any,
) -> Any:
    if (known := next(states)) is not None:
        _cache(named).update(*known, place)
    return skip(*given, **named)


def _show_states(
    forward: Callable[..., Any],
    place: int,
    see: Callable[[BlockStates], object],
    hidden: torch.Tensor,
    **named: Any,
) -> Any:
    output = forward(hidden, **named)
    see(_cache(named).latest(place, hidden.shape[1]))
    return output


def _cache(named: Mapping[str, Any]) -> KeptStates:
    """The cache that a block is called with, which families have two names for."""
    return cast(KeptStates, named.get("past_key_values", named.get("layer_past")))
