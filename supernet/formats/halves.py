"""The layers and halves of layers that a choice leaves out, as a list names them.

A number is a whole layer, ``"3.attention"`` and ``"3.ffn"`` are halves of one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from elasticnas.api_schemas.spaces import HALVES, Half


def halves_named(names: Iterable[int | str], layers: int) -> tuple[tuple[int, Half], ...] | None:
    """The (layer, half) pairs that a list names; None if it names what ``layers`` do not have."""
    known: dict[int | str, list[tuple[int, Half]]] = {}
    for layer in range(layers):
        known[layer] = [(layer, half) for half in HALVES]
        known |= {f"{layer}.{half}": [(layer, half)] for half in HALVES}
    names = tuple(names)
    if any(name not in known for name in names):
        return None
    return tuple(pair for name in names for pair in known[name])


def names_of(halves: Collection[tuple[int, Half]]) -> tuple[int | str, ...]:
    """The shortest list that names these halves."""
    found: list[int | str] = []
    for layer in sorted({layer for layer, _ in halves}):
        left = [half for half in HALVES if (layer, half) in halves]
        found += [layer] if len(left) == len(HALVES) else [f"{layer}.{half}" for half in left]
    return tuple(found)
