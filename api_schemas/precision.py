"""The precision in which subnets are measured."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """The floating-point type of a measurement's weights and activations.

    Every worker computes in float32, not every one in the others, which take half the memory: a
    model that is stored in one of them takes no more than its file. The last digits of a metric
    depend on it, so metrics are compared only where they were measured alike.
    """

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
