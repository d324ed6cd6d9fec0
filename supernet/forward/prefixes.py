"""Prefixes of subnets: what their first layers give on a dataset, kept for the next that has them.

Two subnets whose first k blocks are the same, and that choose alike in all that these depend on,
compute the same hidden states there. The prefixes of a super-network are a tree: a block with its
choices is a branch, a subnet is a way down. A subnet starts at the deepest kept prefix on its way,
and computes what the stock model would: the same modules on the same tensors, so the same bits.

A subnet that writes texts needs its first blocks for every token that it writes, and shares the
reading of the prompts: hidden states, and the keys and values of all blocks up to there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import torch
from torch import nn

from elasticnas.api_schemas.fields import Choice
from elasticnas.api_schemas.spaces import BLOCKS, SubnetChoices
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.forward.activation import WHOLE, Splice, active_halves
from elasticnas.supernet.forward.beginnings import BlockStates
from elasticnas.supernet.measuring.examples import Batch
from elasticnas.supernet.supernet import Supernet

HALF_LIFE = 16.0
"""Evaluations after which a use counts half: what a search tries next resembles what it tried last.
Of 5 to 200, recorded searches by `pareto` save most with 5 to 20, by `nsga2` with 20 to 200."""
MOST = 256
"""Prefixes kept at once: choosing among more would take longer than a small dataset's layers."""
FORGOTTEN = 10 * HALF_LIFE
"""Evaluations after which a prefix that is not kept is as good as never seen."""


@dataclass(eq=False, slots=True)
class Prefix:
    """A subnet's first layers, kept or only counted.

    ``ancestors`` are the shallower prefixes of it, the shallowest first, so it is one layer deeper
    than there are of them. ``uses`` halve every `HALF_LIFE` evaluations, and were right at
    ``used_at``. ``states`` are the hidden states of each batch, (rows, tokens, hidden size), None
    until the evaluation that ``is_kept`` was promised to has succeeded. Where batches are read on,
    they are those of each call of the model, and ``cached`` are, for each of its layers, the keys
    and values of each call; prefixes of one way share these lists.
    """

    ancestors: tuple[Prefix, ...]
    uses: float = 0.0
    used_at: int = 0
    is_kept: bool = False
    states: list[torch.Tensor] | None = None
    cached: tuple[list[BlockStates], ...] = ()

    @property
    def depth(self) -> int:
        """How many layers it is of."""
        return len(self.ancestors) + 1

    def uses_at(self, now: int) -> float:
        """What is left of its uses at evaluation ``now``."""
        return float(self.uses * 0.5 ** ((now - self.used_at) / HALF_LIFE))

    def nearest_kept(self) -> Prefix | None:
        """The deepest kept prefix that is shallower."""
        return next((prefix for prefix in reversed(self.ancestors) if prefix.is_kept), None)

    def drop(self) -> None:
        """Keep it no more; its uses still count."""
        self.is_kept, self.states, self.cached = False, None, ()


class PrefixCache:
    """Bounds the memory of the prefixes of any number of datasets together.

    What is worth least goes first: a prefix's worth is how often it is started from, lately, times
    the layers that this saves over starting from the next shallower kept one. Were it simply the
    least recently used, one subnet of twelve layers would push out eleven prefixes that many start
    from. A layer's time and a prefix's bytes both grow with the tokens, so datasets compare as they
    are.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._datasets: WeakSet[Prefixes] = WeakSet()
        self._now = 0

    @property
    def limit_bytes(self) -> int:
        """The most bytes that are kept."""
        return self._limit

    @property
    def held_bytes(self) -> int:
        """The bytes that are kept, or promised to the evaluation in hand."""
        return sum(dataset.held_bytes for dataset in self._datasets)

    def limit(self, limit_bytes: int) -> None:
        """Change the bound; what is worth least is dropped at once."""
        self._limit = max(limit_bytes, 0)
        self._make_room(in_use=None)

    def clear(self) -> None:
        """Drop everything that is kept."""
        for dataset in self._datasets:
            dataset.drop()

    def of(
        self,
        supernet: Supernet,
        batches: Sequence[Batch],
        *,
        begins: bool = True,
        reads_on: bool = False,
    ) -> Prefixes:
        """The prefixes on some batches: none at first. They go when nobody refers to them.

        An evaluation ``begins`` with these batches, or comes to them after others. A subnet
        ``reads_on`` behind them, or is run on each of them once.
        """
        prefixes = Prefixes(self, supernet, batches, begins=begins, reads_on=reads_on)
        self._datasets.add(prefixes)
        return prefixes

    def _evaluation(self, *, begins: bool) -> int:
        """The number of the evaluation in hand."""
        self._now += begins
        return self._now

    def _make_room(self, in_use: Prefix | None) -> None:
        """Drop prefixes until the rest is within the bounds; ``in_use`` stays."""
        kept = [(prefix, each) for each in self._datasets for prefix in each.kept()]
        held = self.held_bytes
        while kept and (held > self._limit or len(kept) > MOST):
            worths = self.worths([prefix for prefix, _ in kept])
            # Of equals the one used longest ago goes, and of these the deepest.
            candidates = [
                (worth, prefix.used_at, -prefix.depth, place)
                for place, ((prefix, _), worth) in enumerate(zip(kept, worths, strict=True))
                if prefix is not in_use
            ]
            if not candidates:
                return
            prefix, dataset = kept.pop(min(candidates)[-1])
            held -= dataset.held_bytes
            prefix.drop()
            held += dataset.held_bytes

    def worths(self, kept: list[Prefix]) -> list[float]:
        """Layers that each prefix saves an evaluation, as uses go now."""
        nearest = {prefix: prefix.nearest_kept() for prefix in kept}
        starts = {prefix: prefix.uses_at(self._now) for prefix in kept}
        for prefix, shallower in nearest.items():
            if shallower is not None:
                # An evaluation that starts at a deeper prefix does not start at this one. The one
                # that computed the deeper prefix did, and one such is expected of every branch.
                starts[shallower] += 1 - prefix.uses_at(self._now)
        return [
            starts[prefix] * (prefix.depth - (shallower.depth if shallower is not None else 0))
            for prefix, shallower in nearest.items()
        ]


class Prefixes:
    """The prefixes of one super-network's subnets on one list of batches.

    Made by `PrefixCache.of`. For one thread.
    """

    def __init__(
        self,
        cache: PrefixCache,
        supernet: Supernet,
        batches: Sequence[Batch],
        *,
        begins: bool,
        reads_on: bool,
    ) -> None:
        self._cache = cache
        self._begins = begins
        self._reads_on = reads_on
        self._supernet = supernet
        self._batches = batches
        self._known: dict[tuple[tuple[Choice, ...], ...], Prefix] = {}
        self._swept_at = 0
        self._dimensions = dimensions_of_blocks(supernet)
        choices = {each.name: each.choices for each in supernet.space.dimensions}
        self._choices = [(name, choices[name]) for name in _by_first_block(supernet)]
        family, config = supernet.family, supernet.config
        number_bytes = supernet.model.dtype.itemsize * sum(batch.tokens for batch in batches)
        self.bytes_each = int(getattr(config, family.hidden_size)) * number_bytes
        """The size of one prefix's hidden states, whatever its depth."""
        self.cached_bytes_each = 0
        """The size of a layer's keys and values, which are kept where subnets read on."""
        if reads_on:
            channels = family.num_kv_heads(config) * family.head_size(config)
            self.cached_bytes_each = 2 * channels * number_bytes

    @property
    def held_bytes(self) -> int:
        """The bytes that are kept, or promised to the evaluation in hand."""
        kept = list(self.kept())
        layers = {id(layer) for prefix in kept for layer in prefix.cached}
        return self.bytes_each * len(kept) + self.cached_bytes_each * len(layers)

    def kept(self) -> Iterator[Prefix]:
        """The prefixes that are kept or promised."""
        return (prefix for prefix in self._known.values() if prefix.is_kept)

    def drop(self) -> None:
        """Keep nothing any more."""
        for prefix in self._known.values():
            prefix.drop()

    def require(self, supernet: Supernet, batches: Sequence[Batch]) -> None:
        """Raise unless these are the super-network and the batches that the prefixes are of.

        Raises:
            ValueError: they are not.
        """
        if supernet is not self._supernet or batches is not self._batches:
            raise ValueError("these prefixes are of another super-network or other batches")

    def place(self, subnet: SubnetChoices) -> tuple[int, ...]:
        """Where a subnet comes in an order that has those beside each other that share most.

        A dimension left out counts as its first choice, and one that does not exist not at all.
        """
        return tuple(
            -choices.index(subnet[name]) if subnet.get(name) in choices else 0
            for name, choices in self._choices
        )

    @contextmanager
    def shared(self, subnet: SubnetConfig) -> Iterator[Splice]:
        """How to activate a subnet that is then run once on every batch, in order.

        Room for what is to be kept is made before anything is computed, so the bound holds while
        an evaluation runs. Unless that ends without an error, nothing new is kept.
        """
        if self.bytes_each + self.cached_bytes_each > self._cache.limit_bytes:
            yield WHOLE
            return
        way = self._way(subnet)
        start = next((prefix for prefix in reversed(way) if prefix.states is not None), None)
        first = 0 if start is None else start.depth
        for prefix in way[first:]:
            prefix.is_kept = True
            if self._reads_on:
                prefix.cached = (*(prefix.ancestors[-1].cached if prefix.ancestors else ()), [])
        self._cache._make_room(in_use=start)
        seen: dict[int, list[torch.Tensor]] = {p.depth: [] for p in way[first:] if p.is_kept}
        cached = max((prefix.cached for prefix in way[first:]), default=(), key=len)
        try:
            yield self._splice(start, seen, cached)
        except BaseException:
            for prefix in way[first:]:
                prefix.drop()
            raise
        for depth, states in seen.items():
            way[depth - 1].states = states

    def _splice(
        self,
        start: Prefix | None,
        seen: dict[int, list[torch.Tensor]],
        cached: Collection[list[BlockStates]],
    ) -> Splice:
        """How to activate a subnet from a ``start``, whose hidden states at some depths are kept.

        ``cached`` are the keys and values of the layers to the deepest of these.
        """
        known = () if start is None else start.cached
        return Splice(
            first=0 if start is None else start.depth,
            source=None if start is None or start.states is None else _Source(start.states),
            taps={depth: states.append for depth, states in seen.items()},
            reads_on=self._reads_on,
            states={depth: iter(states) for depth, states in enumerate(known, 1)},
            state_taps={
                depth: states.append for depth, states in enumerate(cached, 1) if depth > len(known)
            },
        )

    def _way(self, subnet: SubnetConfig) -> tuple[Prefix, ...]:
        """The prefixes that another subnet can share with this one, each used once more.

        Not that of all its layers: the last one computes the first token alone.
        """
        now = self._cache._evaluation(begins=self._begins)
        if now - self._swept_at >= FORGOTTEN:
            self._forget(now)
        branches = tuple(
            (block, *halves, *(subnet[name] for name in self._dimensions[block]))
            for block, halves in active_halves(self._supernet, subnet).items()
        )
        way: tuple[Prefix, ...] = ()
        for depth in range(1, len(branches)):
            prefix = self._known.setdefault(branches[:depth], Prefix(way))
            prefix.uses, prefix.used_at = prefix.uses_at(now) + 1, now
            way = (*way, prefix)
        return way

    def _forget(self, now: int) -> None:
        """Stop counting what nobody has come by for long, unless a kept prefix lies below it."""
        self._swept_at = now
        needed = {ancestor for prefix in self.kept() for ancestor in (prefix, *prefix.ancestors)}
        self._known = {
            key: prefix
            for key, prefix in self._known.items()
            if prefix in needed or now - prefix.used_at < FORGOTTEN
        }


def dimensions_of_blocks(supernet: Supernet) -> tuple[tuple[str, ...], ...]:
    """For each block, the dimensions that its output depends on beside its input.

    A dimension that cuts the head, or only leaves out blocks, is in none; one that cuts anything
    else outside the blocks is in all.
    """
    family, heads = supernet.family, supernet.task_head.linears
    found: dict[str, set[int]] = {}
    for cut in supernet.plan.cuts:
        block, module = family.layer_of(cut.tensor), cut.tensor.rpartition(".")[0]
        for name in (cut.dimension, *(each.dimension for each in cut.when)):
            if block is not None:
                found.setdefault(name, set()).add(block)
            elif module not in heads:
                found.setdefault(name, set()).update(range(supernet.num_layers))
    for each in supernet.plan.modules:
        if (block := family.layer_of(each.module)) is not None:
            for name in each.dimensions:
                found.setdefault(name, set()).add(block)
    return tuple(
        tuple(name for name, blocks in found.items() if block in blocks)
        for block in range(supernet.num_layers)
    )


def _by_first_block(supernet: Supernet) -> list[str]:
    """The dimensions that part subnets, in the order of the first blocks that they change.

    One that keeps the first so many blocks parts none: the shallower subnet is a part of the other.
    """
    first: dict[str, int] = {}
    for block, names in enumerate(dimensions_of_blocks(supernet)):
        for name in names:
            first.setdefault(name, block)
    for dimension in supernet.space.dimensions:
        if dimension.part == BLOCKS and dimension.amounts is None:
            presences = supernet.plan.presences
            skipped = [p.layer for p in presences if p.when.dimension == dimension.name]
            first[dimension.name] = min(skipped, default=supernet.num_layers)
    return sorted(first, key=lambda name: first[name])


class _Source(nn.Module):
    """Stands in for the embeddings, and gives known hidden states batch by batch."""

    def __init__(self, states: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self._coming = iter(states)

    def forward(self, *_: Any, **__: Any) -> torch.Tensor:
        """The hidden states (rows, tokens, hidden size) of the next batch."""
        return next(self._coming)
