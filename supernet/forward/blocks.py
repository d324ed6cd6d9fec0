"""Blocks that run otherwise than Transformers runs them: on one token, on packs, or not at all.

Each is a twin of a block: it shares everything with it, also the names of its tensors and all
attributes that a model reads off its blocks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from elasticnas.supernet.families.family import AfterAttention, Family, Role
from elasticnas.supernet.forward.packs import Packing, attention_within_rows


@dataclass(frozen=True)
class BlockParts:
    """The parts of a ``block`` of a ``family`` that has `Family.after_attention`.

    What they are called with has shape (..., hidden): any axes may come before the hidden state.
    For inference only: there is no dropout between attention and its values.
    """

    block: nn.Module
    family: Family
    head_size: int
    finish: AfterAttention

    def heads(self, role: Role, hidden: torch.Tensor) -> torch.Tensor:
        """Queries, keys or values, as ``role`` says: shape (..., heads, head size)."""
        module = self.block.get_submodule(self.family.linears[role])
        projected: torch.Tensor = module(hidden)
        return projected.view(*hidden.shape[:-1], -1, self.head_size)

    def after_attention(self, context: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """The block's output: attention's output, the residuals, norms and feed-forward network.

        ``context`` (..., heads, head size) is what attention gave for the tokens of ``hidden``.
        """
        return self.finish(self.block, context.flatten(-2), hidden)


def for_packs(parts: BlockParts) -> nn.Module:
    """A block that takes packs as well; on padded rows it runs as it is."""
    return with_forward(parts.block, partial(_on_packs, parts))


def for_first_token(parts: BlockParts) -> nn.Module:
    """A block that returns the hidden state of each row's first token alone, (rows, 1, hidden).

    Where the head looks at no other, the last block's other tokens are needed as keys and values,
    and for nothing else.
    """
    return with_forward(parts.block, partial(_on_first_token, parts))


def tokenwise_for_first_token(block: nn.Module) -> nn.Module:
    """As `for_first_token`, of a block without attention, in which no token sees another."""
    return with_forward(block, partial(_first_token_alone, block))


def skipped(block: nn.Module, family: Family) -> nn.Module:
    """A block that passes on what it is given. Hooks on the block do not see it."""
    twin = with_forward(block, partial(_pass_on, family.block_returns_tuple))
    twin.__dict__["_forward_hooks"] = {}
    return twin


def tapped(block: nn.Module, see: Callable[[torch.Tensor], object]) -> nn.Module:
    """A block that also shows the hidden states (rows, tokens, hidden size) that it gives."""
    return with_forward(block, partial(_show, block.forward, see))


def with_branch(linear: nn.Module, a: torch.Tensor, b: torch.Tensor, scaling: float) -> nn.Module:
    """A linear layer with an adapter's branch beside it: ``W x + bias + scaling * B (A x)``.

    ``a`` has shape (rank, inputs), ``b`` (outputs, rank).
    """
    return with_forward(linear, partial(_add_branch, linear, a, b, scaling))


def at_places(linear: nn.Module, at: torch.Tensor) -> nn.Module:
    """A linear layer that is run at some places of its inputs alone.

    Of (rows, tokens, inputs) it gives (places, outputs), for places in all rows end to end.
    """
    return with_forward(linear, partial(_at_places, linear, at))


def merging_in_turn(linear: nn.Module, merge: Callable[[torch.Tensor], torch.Tensor]) -> nn.Module:
    """A linear layer whose weight is merged whenever it is called, and dropped afterwards."""
    return with_forward(linear, partial(_merge_and_run, linear, merge))


def with_forward(block: nn.Module, forward: Callable[..., Any]) -> nn.Module:
    """The twin of a module that is run by ``forward``."""
    twin = copy.copy(block)
    twin.__dict__["forward"] = forward
    return twin


def _on_packs(
    parts: BlockParts,
    hidden: torch.Tensor,
    *others: object,
    packing: Packing | None = None,
    **named: object,
) -> torch.Tensor:
    """``hidden`` is (rows, tokens, hidden), or (1, tokens, hidden) packed as ``packing`` says."""
    if packing is None:
        output: torch.Tensor = parts.block.forward(hidden, *others, **named)
        return output
    tokens = hidden[0]
    query, key, value = (parts.heads(r, tokens) for r in (Role.QUERY, Role.KEY, Role.VALUE))
    context = attention_within_rows(query, key, value, queries=packing, keys=packing)
    return parts.after_attention(context, tokens).unsqueeze(0)


def _on_first_token(
    parts: BlockParts,
    hidden: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *_: object,
    packing: Packing | None = None,
    **__: object,
) -> torch.Tensor:
    """``hidden`` is (rows, tokens, hidden), or (1, tokens, hidden) packed as ``packing`` says.

    ``attention_mask`` is None or of shape (rows, 1, queries, keys), boolean or additive.
    """
    if packing is not None:
        return _on_packed_first_tokens(parts, hidden[0], packing)
    first = hidden[:, :1]
    context = functional.scaled_dot_product_attention(
        parts.heads(Role.QUERY, first).transpose(1, 2),
        parts.heads(Role.KEY, hidden).transpose(1, 2),
        parts.heads(Role.VALUE, hidden).transpose(1, 2),
        attn_mask=None if attention_mask is None else attention_mask[:, :, :1],
    )
    return parts.after_attention(context.transpose(1, 2), first)


def _on_packed_first_tokens(
    parts: BlockParts, hidden: torch.Tensor, packing: Packing
) -> torch.Tensor:
    first = hidden.index_select(0, packing.firsts)
    context = attention_within_rows(
        parts.heads(Role.QUERY, first),
        parts.heads(Role.KEY, hidden),
        parts.heads(Role.VALUE, hidden),
        queries=packing.of_firsts,
        keys=packing,
    )
    return parts.after_attention(context, first).unsqueeze(1)


def _first_token_alone(
    block: nn.Module,
    hidden: torch.Tensor,
    *_: object,
    packing: Packing | None = None,
    **__: object,
) -> torch.Tensor:
    """``hidden`` as in `_on_first_token`."""
    first = hidden[:, :1] if packing is None else hidden[0, packing.firsts].unsqueeze(1)
    output: torch.Tensor = block.forward(first)
    return output


def _pass_on(returns_tuple: bool, hidden: torch.Tensor, *_: object, **__: object) -> object:
    return (hidden, None) if returns_tuple else hidden


def _add_branch(
    linear: nn.Module, a: torch.Tensor, b: torch.Tensor, scaling: float, inputs: torch.Tensor
) -> torch.Tensor:
    output: torch.Tensor = linear.forward(inputs)
    low = functional.linear(inputs, a.to(inputs.dtype)).flatten(0, -2)
    whole = torch.addmm(output.flatten(0, -2), low, b.to(inputs.dtype).T, alpha=scaling)
    return whole.view_as(output)


def _at_places(linear: nn.Module, at: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    output: torch.Tensor = linear.forward(inputs.flatten(0, 1).index_select(0, at))
    return output


def _merge_and_run(
    linear: nn.Module, merge: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor
) -> torch.Tensor:
    own: Any = linear  # whose weight and bias the subnet's stand in for
    return functional.linear(inputs, merge(own.weight), own.bias)


def _show(
    forward: Callable[..., Any], see: Callable[[torch.Tensor], object], *given: Any, **named: Any
) -> Any:
    output = forward(*given, **named)
    see(output[0] if isinstance(output, tuple) else output)
    return output
