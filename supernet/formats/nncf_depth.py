"""Elastic depth in an NNCF config: blocks of the graph that a subnet may skip.

``training.elasticity.depth.skipped_blocks`` lists pairs of nodes. The first runs; what comes
after it, up to and with the second, is skipped, and has the first's output in place of its own.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import BLOCKS, HALVES, Dimension, Half, Presence, skipping_halves
from elasticnas.supernet.formats.halves import names_of
from elasticnas.supernet.formats.nncf_nodes import module_of
from elasticnas.supernet.plan import ModelShape

NAME = "skipped_blocks"
"""What the dimension is called."""

MOST_CHOICES = 4096

Block = tuple[int, int]
"""Where a block begins and ends: behind so many halves of layers."""


def skipped_blocks(
    depth: Any, indicator: int | None, shape: ModelShape, *, field: str
) -> tuple[Dimension, tuple[Presence, ...]]:
    """The dimension of elastic depth, and what is left out at each choice of it.

    A choice is a list of the layers and halves of layers that are skipped. Blocks that follow one
    another are a chain: of each, only the last ``indicator`` (1) may be skipped, and a block only
    with all that come behind it. NNCF lists what this allows by the number of blocks, and nothing
    skipped last; here that is the first choice.

    Raises:
        InputError: a block does not begin and end where attention or an FFN of the model ends, two
            blocks overlap, or there are too many ways.
    """
    field = f"{field}/depth"
    told = depth.get(NAME) if isinstance(depth, dict) else None
    if not isinstance(told, list) or not told:
        raise InputError(
            "the blocks must be listed: NNCF's own search for them is not repeated here",
            field=f"{field}/{NAME}",
            value=told,
        )
    if isinstance(depth, dict) and depth.get("fixed_skipped_blocks"):
        raise InputError(
            "blocks that every subnet skips are not read",
            field=f"{field}/fixed_skipped_blocks",
            value=depth["fixed_skipped_blocks"],
            remedy="take these blocks out of the model, or list them as skipped_blocks",
        )
    blocks = [_block(each, shape, field=f"{field}/{NAME}/{i}") for i, each in enumerate(told)]
    _check_apart(blocks, field=f"{field}/{NAME}")
    skipped = [
        tuple(_half(place) for number in way for place in range(*blocks[number]))
        for way in _ways(blocks, indicator or 1, field=f"{field}/{NAME}")
    ]
    dimension = Dimension(
        name=NAME, part=BLOCKS, choices=tuple(names_of(each) for each in skipped), ordered=False
    )
    return dimension, skipping_halves(dimension, skipped)


def _half(place: int) -> tuple[int, Half]:
    layer, index = divmod(place, len(HALVES))
    return layer, HALVES[index]


def _block(nodes: object, shape: ModelShape, *, field: str) -> Block:
    """The halves between two nodes."""
    if not isinstance(nodes, list) or len(nodes) != 2:
        raise InputError("a block is a pair of node names", field=field, value=nodes)
    ends = _ends(shape)
    places = []
    for name in nodes:
        module = module_of(name, field=field)
        if module not in ends:
            raise InputError(
                "a block must begin and end where the attention or the FFN of a layer ends, or "
                "begin behind the embeddings",
                field=field,
                value=name,
                remedy="name the LayerNorm that is the last step of either"
                if shape.family.dropped_out is not None
                else f"blocks of {shape.family.model_type} are run whole only: leave out whole "
                "layers, in search_space.json",
            )
        places.append(ends[module])
    if places[0] >= places[1]:
        raise InputError("the block ends before it begins", field=field, value=nodes[1])
    return places[0], places[1]


def _ends(shape: ModelShape) -> dict[str, int]:
    """Modules behind which so many halves have run, of a family whose graphs are known."""
    family = shape.family
    if family.dropped_out is None:
        return {}
    ends = {family.dropped_out: 0}
    for layer in range(shape.num_layers):
        for index, half in enumerate(HALVES, 1):
            if half in family.halves:
                module = f"{family.layers}.{layer}.{family.halves[half].output}"
                ends[module] = layer * len(HALVES) + index
    return ends


def _check_apart(blocks: list[Block], *, field: str) -> None:
    taken: dict[int, int] = {}
    for number, block in enumerate(blocks):
        for place in range(*block):
            if (other := taken.setdefault(place, number)) != number:
                raise InputError(
                    "two blocks overlap", field=f"{field}/{number}", value=f"block {other}"
                )


def _ways(blocks: list[Block], indicator: int, *, field: str) -> list[tuple[int, ...]]:
    """What may be skipped together: of each chain its last blocks, at most ``indicator``."""
    chains: list[list[int]] = []
    for number, (begin, _) in enumerate(blocks):
        if number and blocks[number - 1][1] == begin:
            chains[-1].append(number)
        else:
            chains.append([number])
    tails = [
        [tuple(chain[len(chain) - count :]) for count in range(min(indicator, len(chain)) + 1)]
        for chain in chains
    ]
    size = 1
    for each in tails:
        size *= len(each)
        if size > MOST_CHOICES:
            raise InputError(
                f"there are more than {MOST_CHOICES} ways to skip these blocks",
                field=field,
                value=f"{len(blocks)} blocks",
                remedy="list fewer, or describe the space in search_space.json, with a dimension "
                "for each layer",
            )
    ways = [tuple(sorted(number for tail in each for number in tail)) for each in product(*tails)]
    return sorted(ways, key=lambda way: (len(way), way))
