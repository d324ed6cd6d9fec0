"""A sensible search space where the user brings none."""

from __future__ import annotations

from elasticnas.api_schemas.spaces import FFN, HEADS, RANK
from elasticnas.supernet.formats.space_file import ElasticDimension, SpaceFile
from elasticnas.supernet.plan import ModelShape


def default_space(shape: ModelShape, *, rank: int) -> SpaceFile:
    """LoNAS's three dimensions in every layer, ordered as LoNAS orders its groups.

    Heads at 1, 3/4 and 1/2; LoRA rank at 1, 1/2 and 1/4; FFN width at 1, 3/4, 1/2 and 1/4. A
    family whose blocks run with all heads only keeps them.
    """
    family, config = shape.family, shape.config
    heads = _shares(family.num_kv_heads(config), (4, 3, 2))
    ranks = _shares(rank, (4, 2, 1))
    widths = _shares(family.ffn_size(config), (4, 3, 2, 1))
    layers = range(shape.num_layers)
    elastic = (
        *([("attention.heads", HEADS, heads)] if family.has_elastic_heads else []),
        ("lora.rank", RANK, ranks),
        ("ffn.width", FFN, widths),
    )
    return SpaceFile(
        version=2,
        dimensions=tuple(
            ElasticDimension(name=f"layer.{layer}.{name}", part=part, layer=layer, choices=choices)
            for name, part, choices in elastic
            for layer in layers
        ),
    )


def _shares(full: int, quarters: tuple[int, ...]) -> tuple[int, ...]:
    """So many quarters of ``full``, each rounded down to at least 1, without repeats."""
    return tuple(sorted({max(1, full * share // 4) for share in quarters}, reverse=True))
