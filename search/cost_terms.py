"""The terms that the cost of a transformer is made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from elasticnas.api_schemas.costs import CostModel, Count, Table, Term
from elasticnas.api_schemas.spaces import Condition

Conditions = Sequence[Condition]


@dataclass(frozen=True)
class Extent:
    """A length along a tensor axis.

    ``full``; or ``unit * amount`` where ``dimension`` has amounts; or an entry of ``lengths``.
    """

    full: int
    dimension: str | None = None
    unit: int = 1
    lengths: Table | None = None


def cost_model(terms: Iterable[Term]) -> CostModel:
    """The sum of terms; like terms become one."""
    coefficients: dict[Term, int] = defaultdict(int)
    for term in terms:
        coefficients[term.model_copy(update={"coefficient": 1})] += term.coefficient
    return CostModel(
        terms=tuple(
            term.model_copy(update={"coefficient": coefficient})
            for term, coefficient in coefficients.items()
            if coefficient
        )
    )


def linear(
    rows: Extent,
    columns: Extent,
    *,
    bias: bool = False,
    tokens: Literal["every", "one"] = "every",
    counts_as: Literal[Count.LINEAR, Count.HEAD] = Count.LINEAR,
    rank: Extent | None = None,
    is_trainable: bool = False,
    zeros: Table | None = None,
    when: Conditions = (),
) -> list[Term]:
    """A linear layer of r ``rows`` (outputs) and c ``columns`` (inputs).

    It spends ``r * c`` multiply-accumulates on every token of a sequence or on one; a LoRA branch
    of ``rank`` k, left unmerged, ``k * (r + c)``, all of it trained. ``zeros`` are those among the
    stored weight's active entries (a sparse base, as Shears trains on). Biases are free.
    """
    power: Literal[0, 1] = 1 if tokens == "every" else 0
    trained = (Count.TRAINABLE_PARAMS,) if is_trainable else ()
    stored = (Count.PARAMS, Count.NONZERO_PARAMS, *trained)
    terms = [_product(rows, columns, counts=(counts_as, *stored), tokens=power, when=when)]
    if bias:
        terms.append(_product(rows, counts=stored, when=when))
    if rank is not None:
        branch = (Count.ADAPTERS, Count.NONZERO_PARAMS, Count.TRAINABLE_PARAMS)
        terms += [
            _product(rank, side, counts=branch, tokens=power, when=when) for side in (rows, columns)
        ]
    if zeros is not None:
        terms.append(absent(zeros, when=when))
    return terms


def absent(zeros: Table, *, when: Conditions = ()) -> Term:
    """The ``zeros`` among a tensor's active entries, which are no non-zero parameters."""
    counts = (Count.NONZERO_PARAMS,)
    if not zeros.axes:  # as many in every subnet
        return Term(coefficient=-zeros.values[0], counts=counts, when=tuple(when))
    return Term(coefficient=-1, counts=counts, tables=(zeros,), when=tuple(when))


def attention(width: Extent, *, when: Conditions = ()) -> Term:
    """The two products of attention of width w over s tokens: ``2 * s^2 * w``."""
    return _product(Extent(full=2), width, counts=(Count.ATTENTION,), tokens=2, when=when)


def weight_bytes(*shape: Extent, bytes_each: int, when: Conditions = ()) -> Term:
    """A stored tensor of this ``shape``, of ``bytes_each`` for a number."""
    return _product(Extent(full=bytes_each), *shape, counts=(Count.WEIGHT_BYTES,), when=when)


def adapter_bytes(*shape: Extent, bytes_each: int, when: Conditions = ()) -> Term:
    """A tensor of an adapter, as `weight_bytes` has those of the model that it is merged into."""
    return _product(Extent(full=bytes_each), *shape, counts=(Count.ADAPTER_BYTES,), when=when)


def keys_and_values(width: Extent, *, bytes_each: int, when: Conditions = ()) -> Term:
    """What a block keeps of s tokens: keys and values of width w each, ``2 * s * w`` numbers.

    ``width`` is that of all active key-value heads together (Ainslie et al. 2023, "GQA").
    """
    both = Extent(full=2 * bytes_each)
    return _product(both, width, counts=(Count.KV_BYTES,), tokens=1, when=when)


def parameters(count: int, *, when: Conditions = ()) -> Term:
    """Parameters that cost no operations, such as those of LayerNorms and embeddings."""
    counts = (Count.PARAMS, Count.NONZERO_PARAMS)
    return Term(coefficient=count, counts=counts, when=tuple(when))


def parameter(*shape: Extent, when: Conditions = ()) -> Term:
    """A tensor of this ``shape`` that costs no operations by itself."""
    return _product(*shape, counts=(Count.PARAMS, Count.NONZERO_PARAMS), when=when)


def mixing(
    coefficient: int, *extents: Extent, tokens: Literal[1, 2], when: Conditions = ()
) -> Term:
    """What an operation between tokens spends beside linear layers, a product of lengths."""
    factors = (Extent(full=coefficient), *extents)
    return _product(*factors, counts=(Count.ATTENTION,), tokens=tokens, when=when)


def _product(
    *extents: Extent,
    counts: tuple[Count, ...],
    tokens: Literal[0, 1, 2] = 0,
    when: Conditions = (),
) -> Term:
    """The product of lengths: what is no choice goes into the coefficient."""
    coefficient, amounts, tables = 1, [], []
    for extent in extents:
        if extent.lengths is not None:
            tables.append(extent.lengths)
        elif extent.dimension is not None:
            amounts.append(extent.dimension)
            coefficient *= extent.unit
        else:
            coefficient *= extent.full
    return Term(
        coefficient=coefficient,
        counts=counts,
        amounts=tuple(sorted(amounts)),
        tables=tuple(tables),
        tokens=tokens,
        when=tuple(when),
    )
