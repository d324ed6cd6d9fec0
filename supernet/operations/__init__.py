"""What the layers of a heterogeneous super-network choose among: one file for each operation."""

from elasticnas.supernet.operations.cosine import COSINE
from elasticnas.supernet.operations.dynamic_convolution import DYNAMIC_CONVOLUTION
from elasticnas.supernet.operations.fourier import FOURIER
from elasticnas.supernet.operations.operation import Operation
from elasticnas.supernet.operations.scaled_dot_product import SCALED_DOT_PRODUCT
from elasticnas.supernet.operations.weighted_multiplicative import WEIGHTED_MULTIPLICATIVE

OPERATIONS: dict[str, Operation] = {
    each.name: each
    for each in (
        SCALED_DOT_PRODUCT,
        WEIGHTED_MULTIPLICATIVE,
        DYNAMIC_CONVOLUTION,
        FOURIER,
        COSINE,
    )
}
"""By name; the costliest first, so that the last choice is the cheapest."""
