"""One look for all pictures: palette, words, and which way is better."""

from __future__ import annotations

from elasticnas.api_schemas.costs import TITLES
from elasticnas.api_schemas.searches import is_cost
from elasticnas.api_schemas.spaces import BLOCKS, FFN, HEADS, HIDDEN, OPERATION, RANK
from elasticnas.tasks import METRICS

BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE, GREY = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#56B4E9",
    "#CC79A7",
    "#9AA0A6",
)
"""Okabe and Ito's palette, told apart by every kind of colour vision."""

COLOURS = {
    HEADS: (BLUE, "attention heads"),
    FFN: (ORANGE, "FFN neurons"),
    RANK: (GREEN, "LoRA ranks"),
    BLOCKS: (VERMILION, "blocks kept"),
    OPERATION: (PURPLE, "operations"),
    HIDDEN: (SKY, "hidden channels"),
}
OTHER = (GREY, "other parts")


def words(objective: str) -> str:
    """An objective as a reader calls it."""
    return TITLES.get(objective, objective.replace("_", " "))


def axis_title(objective: str, max_length: int) -> str:
    """What an axis of an objective says; a cost is that of one sequence."""
    said = words(objective)
    return f"{said}, one sequence of {max_length} tokens" if is_cost(objective) else said


def is_better_when_less(objective: str) -> bool:
    """Whether less of it is better: of every cost, and of metrics such as perplexity."""
    return is_cost(objective) or not METRICS[objective].is_better_when_larger
