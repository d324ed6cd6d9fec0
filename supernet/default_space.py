"""A sensible search space where the user brings none: that of the method's paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from elasticnas.api_schemas.spaces import FFN, HEADS, RANK
from elasticnas.supernet.families.family import ATTENTION_ROLES, FFN_ROLES, Role
from elasticnas.supernet.formats.space_file import ElasticDimension, SpaceFile
from elasticnas.supernet.plan import ModelShape


def default_space(shape: ModelShape, *, rank: int, ranks: Sequence[int] | None = None) -> SpaceFile:
    """LoNAS's dimensions in every layer, ordered as LoNAS orders its groups.

    Of an encoder heads at 1, 3/4 and 1/2; LoRA rank at 1, 1/2 and 1/4; FFN width at 1, 3/4, 1/2 and
    1/4. Of a decoder the rank of attention's adapters at 1, 3/4 and 1/2; FFN width at 1, 7/8, 3/4,
    5/8 and 1/2; the rank of the first FFN layers' adapters as attention's. There the last FFN
    layer's rank stays. ``ranks`` are other choices of every rank.
    """
    family, config = shape.family, shape.config
    full = family.ffn_size(config)
    if family.is_causal:
        ranks = ranks or _shares(rank, (4, 3, 2))
        widths = _shares(full, (8, 7, 6, 5, 4), of=8)
        dimensions = [
            *_ranks(shape, "attention", ATTENTION_ROLES, ranks),
            *_each(shape, "ffn.width", FFN, widths),
            *_ranks(shape, "ffn", FFN_ROLES, ranks),
        ]
    else:
        dimensions = [
            *_each(
                shape, "attention.heads", HEADS, _shares(family.num_kv_heads(config), (4, 3, 2))
            ),
            *_each(shape, "lora.rank", RANK, ranks or _shares(rank, (4, 2, 1))),
            *_each(shape, "ffn.width", FFN, _shares(full, (4, 3, 2, 1))),
        ]
    return SpaceFile(version=2, dimensions=tuple(dimensions))


def rank_space(shape: ModelShape, *, rank: int, ranks: Sequence[int] | None = None) -> SpaceFile:
    """Shears's dimensions: in every layer three ranks, each at 1, 3/4 and 1/2.

    One of attention's adapters, one of the first FFN layers', one of the last FFN layer's.
    """
    ranks = ranks or _shares(rank, (4, 3, 2))
    dimensions = (
        *_ranks(shape, "attention", (*ATTENTION_ROLES, Role.ATTENTION_OUTPUT), ranks),
        *_ranks(shape, "ffn", FFN_ROLES, ranks),
        *_ranks(shape, "ffn_out", (Role.FFN_OUT,), ranks),
    )
    return SpaceFile(version=2, dimensions=dimensions)


def adapter_space(
    shape: ModelShape,
    *,
    rank: int,
    ranks: Sequence[int] | None = None,
    by_module: bool = False,
) -> SpaceFile:
    """A rank of all adapters of each layer, or of each adapter alone: whole, or 0, which is off."""
    ranks = ranks or (rank, 0)
    if by_module:
        roles = tuple(role for role in Role if role in shape.family.linears)
        found = [each for role in roles for each in _ranks(shape, role, (role,), ranks)]
        found.sort(key=lambda each: each.layer or 0)
    else:
        found = [
            each.model_copy(update={"name": f"layer.{each.layer}.lora.rank", "roles": ()})
            for each in _ranks(shape, "all", tuple(Role), ranks)
        ]
    return SpaceFile(version=2, dimensions=tuple(found))


def _each(
    shape: ModelShape, name: str, part: str, choices: Sequence[int]
) -> Iterator[ElasticDimension]:
    """A dimension of every layer."""
    for layer in range(shape.num_layers):
        yield ElasticDimension(
            name=f"layer.{layer}.{name}", part=part, layer=layer, choices=tuple(choices)
        )


def _ranks(
    shape: ModelShape, name: str, roles: Sequence[Role], choices: Sequence[int]
) -> Iterator[ElasticDimension]:
    """A rank of every layer that has an adapter with one of ``roles``."""
    for layer in range(shape.num_layers):
        if shape.adapted_in(layer, roles):
            yield ElasticDimension(
                name=f"layer.{layer}.{name}.lora.rank",
                part=RANK,
                layer=layer,
                choices=tuple(choices),
                roles=tuple(role for role in roles if role in shape.family.linears),
            )


def _shares(full: int, parts: tuple[int, ...], *, of: int = 4) -> tuple[int, ...]:
    """So many quarters (or other parts) of ``full``, each at least 1, without repeats."""
    return tuple(sorted({max(1, full * share // of) for share in parts}, reverse=True))
