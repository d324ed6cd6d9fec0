"""What reading a checkpoint takes of memory, next to the size of its files.

A LLaMA with random weights is made on the spot, in bfloat16 and a shard a block, and each step is
taken in a process of its own: importing what reads, mapping and checking (`read_supernet`), the
whole report of a registration, and moving into float32.

    python -m benchmarks.reading --gib 1.4
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from benchmarks.large_model import TINY_LLAMA, write_large_checkpoint
from benchmarks.resident import MIB, peaks_of
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.report import report

STEPS = ("import", "read", "register", "float32")


def main() -> None:
    """Print a row for each step; with ``--step`` take it in this process."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gib", type=float, default=1.4, help="size of the weights")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--checkpoint", type=Path, help="one that is there already")
    options = parser.parse_args()
    if options.step is not None:
        take(options.step, options.checkpoint)
        return
    with tempfile.TemporaryDirectory() as made:
        folder = options.checkpoint or write_large_checkpoint(
            Path(made), TINY_LLAMA | {"num_hidden_layers": layers_of(options.gib)}
        )
        size = sum(file.stat().st_size for file in (folder / "base").glob("*.safetensors"))
        print(f"weights: {size / MIB:.0f} MiB")
        print("step     | resident, MiB | of the weights | anonymous | mapped, the most")
        for step in STEPS:
            peaks = peaks_of("benchmarks.reading", ["--step", step, "--checkpoint", str(folder)])
            print(
                f"{step:8} | {peaks.resident / MIB:13.0f} | {peaks.resident / size:13.2f}x |"
                f" {peaks.anonymous / MIB:9.0f} | {peaks.mapped / MIB:9.0f}"
            )


def layers_of(gib: float) -> int:
    """How many of TinyLlama's blocks have about so many bytes, embeddings and head included."""
    hidden, ffn = TINY_LLAMA["hidden_size"], TINY_LLAMA["intermediate_size"]
    keys = hidden // TINY_LLAMA["num_attention_heads"] * TINY_LLAMA["num_key_value_heads"]
    block = 2 * hidden * (2 * hidden + 2 * keys + 3 * ffn)
    around = 2 * 2 * hidden * TINY_LLAMA["vocab_size"]
    return max(1, round((gib * 2**30 - around) / block))


def take(step: str, checkpoint: Path) -> None:
    """Take a step; the one before it is a part of it."""
    if step == "import":
        return
    supernet = read_supernet(checkpoint)
    if step == "register":
        report(supernet)
    if step == "float32":
        supernet.to(torch.device("cpu"), torch.float32)


if __name__ == "__main__":
    main()
