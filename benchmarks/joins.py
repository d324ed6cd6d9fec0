"""From how many tokens on it pays to merge an adapter, on this processor.

For linear layers of several shapes and adapters of several ranks: the time of merging the adapter
once, and what running it beside the layer adds to each token. Their quotient is the number of
tokens at which both ways take as long. In units of ``inputs * outputs / (inputs + outputs)``, the
tokens at which both ways take as many multiply-accumulates, it is the constant of
`supernet.forward.joining`.

    OMP_NUM_THREADS=1 python -m benchmarks.joins
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from elasticnas.supernet.forward.activation import merged
from elasticnas.supernet.forward.blocks import with_branch
from elasticnas.supernet.supernet import LoraAdapter

SHAPES = ((384, 384), (768, 768), (3072, 768), (2048, 2048), (5632, 2048), (256, 2048))
"""(outputs, inputs): MiniLM's and BERT-base's attention, BERT-base's FFN, a LLaMA of 1.1 billion
weights: queries, FFN, and keys of four heads."""
RANKS = (4, 8, 32, 64)
TOKENS = 1024
ROUNDS = 9


def main() -> None:
    """Print a row for each shape and rank, and the median of the last column."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="of a batch")
    options = parser.parse_args()
    dtype = getattr(torch, options.dtype)
    print("outputs inputs rank | merging, ms | beside, us/token | tokens | constant")
    constants = []
    for (outputs, inputs), rank in itertools.product(SHAPES, RANKS):
        merging, beside = _times(outputs, inputs, rank, options.tokens, dtype)
        even = merging / beside
        constants.append(even * (inputs + outputs) / (inputs * outputs))
        print(
            f"{outputs:7} {inputs:6} {rank:4} | {merging * 1e3:11.3f} | {beside * 1e6:16.3f} |"
            f" {even:6.0f} | {constants[-1]:8.2f}"
        )
    print(f"median {statistics.median(constants):.2f}")


@torch.inference_mode()
def _times(
    outputs: int, inputs: int, rank: int, tokens: int, dtype: torch.dtype
) -> tuple[float, float]:
    """The seconds of merging, and those that an adapter beside its layer adds to each token."""
    weight = torch.randn(outputs, inputs, dtype=dtype)
    adapter = LoraAdapter(torch.randn(rank, inputs), torch.randn(outputs, rank), 0.5)
    computed = _Computed(torch.randn(1, tokens, outputs, dtype=dtype))
    beside = with_branch(computed, adapter.a, adapter.b, adapter.scaling)
    batch = torch.randn(1, tokens, inputs, dtype=dtype)
    return (
        _seconds(lambda: merged(weight, adapter)),
        _seconds(lambda: beside(batch)) / tokens,
    )


class _Computed(nn.Module):
    """Stands in for a linear layer, whose own product takes no time."""

    def __init__(self, output: torch.Tensor) -> None:
        super().__init__()
        self.output = output

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        """What the layer gives."""
        return self.output


def _seconds(act: Callable[[], object]) -> float:
    """Of the processor, so that others on the machine count less; the median."""
    found = []
    for _ in range(ROUNDS):
        start = time.process_time()
        act()
        found.append(time.process_time() - start)
    return statistics.median(found)


if __name__ == "__main__":
    main()
