"""What an evaluation of a language model makes of a GPU: tokens a second, and the matrix peak.

    python -m benchmarks.gpu_language

A super-network of LLaMA-7B's shape with random weights in bfloat16, and adapters where Shears has
them that stay beside their weights. Its maximal subnet is measured in three ways, on random tokens:

- choices: rows of a question and four answers, each row a tree whose question is run once, beside
  each answer behind a question of its own;
- windows of a long text, as perplexity is measured;
- texts written behind prompts, with keys and values kept.

For the first two it prints what share of the largest square products' speed the products that have
to be computed reach: no padding, and logits only where a token is scored. Writing is bound by
memory, so it prints how many bytes of weights were read a second.

No other GPU, and no other process on this one, should be at work. Without CUDA it ends with status
2; to see it run all the same, small and slow:

    python -m benchmarks.gpu_language --device cpu --dtype float32 --hidden 64 --layers 2 --rows 8
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.gpu import peak_flop_per_second, seconds
from elasticnas.supernet.default_space import default_space
from elasticnas.supernet.families.llama import LLAMA
from elasticnas.supernet.formats.elasticnas import ELASTICNAS, elastic_part
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.measuring.batching import batches_for
from elasticnas.supernet.measuring.decoding import Decoding
from elasticnas.supernet.measuring.examples import Examples
from elasticnas.supernet.measuring.generation import GenerationExamples, write_texts
from elasticnas.supernet.measuring.trees import TreeExamples, choices
from elasticnas.supernet.plan import Join, ModelShape
from elasticnas.supernet.supernet import LoraAdapter, Supernet, named_tensors
from elasticnas.tasks.items import Item, Scored

ADAPTED = ("query", "key", "value", "ffn_in", "ffn_out")
RANK = 32
LENGTH = 2048
QUESTION, ANSWER, CHOICES = (20, 60), (2, 12), 4
"""Tokens from and to, about those of ARC's questions and answers."""


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make what is made within of this dtype: of 7B parameters there is no room for float32."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def random_supernet(options: argparse.Namespace) -> Supernet:
    """LLaMA-7B, or as wide and deep as asked for, with adapters and the default space."""
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=options.hidden,
        intermediate_size=options.hidden * 43 // 16,
        num_hidden_layers=options.layers,
        num_attention_heads=max(1, options.hidden // 128),
        num_key_value_heads=max(1, options.hidden // 128),
        max_position_embeddings=LENGTH,
        dtype=dtype,
    )
    with device, default_dtype(dtype):
        model = LlamaForCausalLM(config)
    model.train(False).requires_grad_(False)
    adapters = {}
    for layer in range(options.layers):
        for role in ADAPTED:
            module = LLAMA.module(layer, role)
            outputs, inputs = model.get_parameter(f"{module}.weight").shape
            a, b = (torch.randn(shape) * 0.02 for shape in ((RANK, inputs), (outputs, RANK)))
            adapters[module] = LoraAdapter(
                a.to(device, dtype), b.to(device, dtype), scaling=2.0, join=Join.UNMERGED
            )
    shape = ModelShape.of(LLAMA, config, named_tensors(model, adapters))
    elastic = elastic_part(default_space(shape, rank=RANK), shape)
    return Supernet(
        method=ELASTICNAS.name,
        family=LLAMA,
        model=model,
        adapters=adapters,
        space=elastic.space,
        plan=elastic.plan,
        reference_length=LENGTH,
        folder=Path(),  # nothing of it was ever in a file
    )


def questions(rows: int, vocabulary: int) -> list[Item]:
    """Rows of random tokens: answers behind the row's question."""
    rng = np.random.default_rng(0)

    def tokens(bounds: tuple[int, int]) -> tuple[int, ...]:
        return tuple(rng.integers(vocabulary, size=rng.integers(*bounds)).tolist())

    asked = [tokens(QUESTION) for _ in range(rows)]
    return [
        tuple(Scored((*text, *tokens(ANSWER)), len(text)) for _ in range(CHOICES)) for text in asked
    ]


def text_windows(rows: int, vocabulary: int, length: int) -> list[Item]:
    """Windows of random tokens, of which all but the first are scored."""
    drawn = np.random.default_rng(1).integers(vocabulary, size=(rows, length + 1)).tolist()
    return [(Scored(tuple(each), 1),) for each in drawn]


def needed_flop(supernet: Supernet, examples: TreeExamples) -> float:
    """FLOP, two for a multiply-accumulate, in the products that these rows need.

    Those of weights with every token, of queries and values with the tokens each one sees, and of
    the head with every prediction. Adapters are not counted.
    """
    config = supernet.config
    trees = [tree for row in examples.trees for tree in row]
    tokens = sum(len(tree.tokens) for tree in trees)
    seen = sum(int((tree.depths + 1).sum()) for tree in trees)
    predictions = sum(len(tree.at) for tree in trees)
    blocks = sum(
        module.weight.numel()
        for name, module in supernet.model.named_modules()
        if isinstance(module, torch.nn.Linear) and LLAMA.layer_of(name) is not None
    )
    attention = 2 * config.num_hidden_layers * config.hidden_size
    head = config.vocab_size * config.hidden_size
    return 2.0 * float(blocks * tokens + attention * seen + head * predictions)


def run_once(supernet: Supernet, examples: Examples, token_budget: int) -> float:
    """Seconds of a whole evaluation of the maximal subnet, after one that is not measured."""
    batches = batches_for(supernet, examples, token_budget)

    def work() -> None:
        with torch.inference_mode():
            active = activate(supernet, supernet.space.maximal)
            for batch in batches:
                write_texts(active, batch) if not examples.runs_once else choices(active, batch)

    work()
    return seconds(work, supernet.model.device)


def prompts(rows: int, vocabulary: int, length: int, new_tokens: int) -> GenerationExamples:
    """Prompts of random tokens, behind each of which as many new ones are written."""
    drawn = np.random.default_rng(2).integers(vocabulary, size=(rows, length)).tolist()
    decoding = Decoding(new_tokens)

    def decode(texts: Sequence[Sequence[int]]) -> list[str]:
        return ["" for _ in texts]

    return GenerationExamples(drawn, np.zeros(rows), 0, decoding, decode)


def main() -> None:
    """Measure the peak, then each way."""
    options = _options()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("this machine has no CUDA device: nothing was measured", file=sys.stderr)
        raise SystemExit(2)
    supernet = random_supernet(options)
    vocabulary = supernet.config.vocab_size
    weights = sum(each.numel() * each.element_size() for each in supernet.model.parameters())
    where = torch.cuda.get_device_name() if device.type == "cuda" else "a processor"
    print(f"{where}, torch {torch.__version__}, {options.dtype}, weights {weights / 1e9:.2f} GB")
    peak = peak_flop_per_second(device, getattr(torch, options.dtype))
    print(f"square matrix products reach {peak / 1e12:.3f} TFLOP/s")

    asked = questions(options.rows, vocabulary)
    windows = text_windows(max(1, options.rows // 16), vocabulary, options.window)
    labels = np.zeros(max(len(asked), len(windows)), np.int64)
    ways = {
        "choices, a tree a row": (asked, True),
        "choices, each alone": (asked, False),
        "windows": (windows, False),
    }
    print(f"\n{'way':24}   tokens  tokens/s  TFLOP/s  of the peak")
    for way, (items, shares) in ways.items():
        made = TreeExamples.of(items, labels[: len(items)], pad_id=0, shares=shares)
        taken = run_once(supernet, made, options.token_budget)
        flop = needed_flop(supernet, made)
        tokens = sum(len(tree.tokens) for trees in made.trees for tree in trees)
        print(
            f"{way:24} {tokens:8d} {tokens / taken:9.0f} {flop / taken / 1e12:8.3f} "
            f"{100 * flop / taken / peak:10.1f} %",
            flush=True,
        )
    written = prompts(options.rows, vocabulary, QUESTION[1], options.new_tokens)
    taken = run_once(supernet, written, options.token_budget)
    tokens = options.rows * options.new_tokens
    steps = len(batches_for(supernet, written, options.token_budget)) * options.new_tokens
    print(
        f"\nwriting {options.new_tokens} tokens behind {options.rows} prompts: "
        f"{tokens / taken:.0f} tokens/s, {steps * weights / taken / 1e9:.1f} GB of weights a second"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--hidden", type=int, default=4096)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--window", type=int, default=LENGTH, help="tokens of a text's window")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--token-budget", type=int, default=16_384)
    return parser.parse_args()


if __name__ == "__main__":
    main()
