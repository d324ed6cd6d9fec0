"""Evaluations per second in bfloat16 and in float32, and how many predictions differ.

    python -m benchmarks.dtype CHECKPOINT DATA.jsonl --text sentence

On the named subnets and on random ones, each in both dtypes in turn, in one run. A worker refuses
bfloat16 on a processor without instructions for it; here it is emulated there, slowly, but with the
same rounding. ``CHECKPOINT`` is a folder that ``elasticnas supernet add`` takes.
"""

from __future__ import annotations

import argparse
import random
import time

import torch

from benchmarks.labelled_rows import add_arguments, read_examples
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.measuring.batching import batches_for
from elasticnas.supernet.measuring.measure import predict


def main() -> None:
    """Predict in both dtypes; print rates, differing predictions and accuracies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--token-budget", type=int, default=4096)
    parser.add_argument("--random", type=int, default=10, help="how many random subnets")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()

    device = torch.device(options.device)
    # Read twice: a super-network that is moved or rounded is not what it was.
    exact, rounded = (
        read_supernet(options.checkpoint).to(device, dtype)
        for dtype in (torch.float32, torch.bfloat16)
    )
    examples = read_examples(exact, options)
    # The two may suit different batches.
    measured = [
        (supernet, batches_for(supernet, examples, options.token_budget))
        for supernet in (exact, rounded)
    ]
    space, rng = exact.space, random.Random(0)
    subnets: dict[str, SubnetConfig] = {
        "maximal": space.maximal,
        "heuristic": space.heuristic,
        "minimal": space.minimal,
    }
    for number in range(options.random):
        subnets[f"random {number}"] = space.decode(
            [rng.randrange(count) for count in space.cardinalities]
        )

    print(f"{len(examples)} rows, {torch.get_num_threads()} threads, {device}")
    print("subnet     float32/s bfloat16/s  changed   accuracy float32 / bfloat16")
    with torch.inference_mode():
        for supernet, batches in measured:
            predict(activate(supernet, space.minimal), batches[:1], rows=len(examples))
        for name, subnet in subnets.items():
            found, rates = [], []
            for supernet, batches in measured:
                start = time.perf_counter()
                found.append(predict(activate(supernet, subnet), batches, rows=len(examples)))
                rates.append(1 / (time.perf_counter() - start))
            changed = int((found[0].argmax(1) != found[1].argmax(1)).sum())
            accuracies = " / ".join(
                f"{(logits.argmax(1).numpy() == examples.labels).mean():.4f}" for logits in found
            )
            print(
                f"{name:<10} {rates[0]:9.3f} {rates[1]:10.3f} {changed:8d}   {accuracies}",
                flush=True,
            )


if __name__ == "__main__":
    main()
