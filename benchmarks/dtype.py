"""Evaluations per second in bfloat16 and in float32, and how many predictions differ.

    python -m benchmarks.dtype CHECKPOINT DATA.jsonl --text sentence

On the named subnets and on random ones, each in both dtypes in turn, in one run. A worker refuses
bfloat16 on a processor without instructions for it; here it is emulated there, slowly, but with the
same rounding. ``CHECKPOINT`` is a folder that ``elasticnas supernet add`` takes.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import torch

from api_schemas.metrics import Task
from search.space import SubnetConfig
from supernet.activation import activate
from supernet.checkpoint.reader import load_tokenizer, read_supernet
from supernet.evaluation import predict
from supernet.examples import LabelledTexts, tokenize
from supernet.metrics import task_metrics


def main() -> None:
    """Predict in both dtypes; print rates, differing predictions and accuracies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path, help="JSONL with a text column and an integer label")
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="label")
    parser.add_argument("--max-length", type=int, default=64)
    parser.add_argument("--token-budget", type=int, default=4096)
    parser.add_argument("--random", type=int, default=10, help="how many random subnets")
    parser.add_argument("--rows", type=int, default=None, help="only the first so many")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()

    device = torch.device(options.device)
    # Read twice: a super-network that is moved or rounded is not what it was.
    exact, rounded = (
        read_supernet(options.checkpoint).to(device, dtype)
        for dtype in (torch.float32, torch.bfloat16)
    )
    rows = [json.loads(line) for line in options.data.read_text().splitlines()][: options.rows]
    examples = tokenize(
        LabelledTexts([r[options.text] for r in rows], None, [r[options.label] for r in rows]),
        load_tokenizer(exact),
        exact.architecture,
        task=Task.CLASSIFICATION,
        max_length=options.max_length,
    )
    batches = examples.batches_on(device, options.token_budget)
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
        for supernet in (exact, rounded):
            predict(activate(supernet, space.minimal), batches[:1], rows=len(examples))
        for name, subnet in subnets.items():
            found, rates = [], []
            for supernet in (exact, rounded):
                start = time.perf_counter()
                found.append(predict(activate(supernet, subnet), batches, rows=len(examples)))
                rates.append(1 / (time.perf_counter() - start))
            changed = int((found[0].argmax(1) != found[1].argmax(1)).sum())
            accuracies = " / ".join(
                f"{task_metrics(Task.CLASSIFICATION, logits, examples.labels)['accuracy']:.4f}"
                for logits in found
            )
            print(
                f"{name:<10} {rates[0]:9.3f} {rates[1]:10.3f} {changed:8d}   {accuracies}",
                flush=True,
            )


if __name__ == "__main__":
    main()
