"""Texts of a subnet written in batches that rows leave, beside one at a time.

    OMP_NUM_THREADS=1 python -m benchmarks.generation CHECKPOINT DATA.jsonl \\
        --prompt 'Question: {sentence1}\\nAnswer:' --rows 64 --max-new-tokens 64

The same subnet writes behind the same prompts in three ways: by ``generate()`` of Transformers, a
prompt at a time; by the loop of an evaluation, a prompt at a time; and in the batches of an
evaluation. All texts must be the same. Seconds are the processor's, which others on the machine do
not lengthen much. With ``--search 100``, a whole search of so many evaluations by ``pareto`` too,
in which subnets share the reading of their prompts, and one in which they do not. ``CHECKPOINT`` is
a folder that ``elasticnas supernet add`` takes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.supernet_search import run_search, search_loop
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.forward.activation import ActiveSubnet, activate
from elasticnas.supernet.forward.prefixes import PrefixCache
from elasticnas.supernet.measuring.generation import GenerationExamples, prepare, write_texts
from elasticnas.supernet.measuring.measure import Lap, laps_of, measure
from elasticnas.supernet.measuring.token_reader import running
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks.generation import GENERATION
from elasticnas.tasks.rows import Rows
from elasticnas.tasks.settings import TaskSettings
from elasticnas.tasks.task import LabelsOfDataset, RowsOfDataset

LONGEST = 100_000
CACHE_BYTES = 2**30


def main() -> None:
    """Print seconds and tokens a second of each way."""
    options = _options()
    supernet = read_supernet(options.checkpoint).to(torch.device("cpu"), torch.float32)
    rows = _rows(options.data, options.rows)
    given = {
        "prompt": options.prompt.replace("\\n", "\n"),
        "max_new_tokens": options.max_new_tokens,
        "beams": options.beams,
    }
    settings = GENERATION.settle(
        given, RowsOfDataset(rows.columns, LabelsOfDataset(0, None, names_given=False))
    )
    tokenizer = load_tokenizer(supernet)
    examples = prepare(rows, GENERATION, settings, tokenizer, supernet, LONGEST)
    if options.endless:
        examples = replace(examples, decoding=replace(examples.decoding, ends=()))
    subnet = getattr(supernet.space, options.subnet)
    with torch.inference_mode():
        active = activate(supernet, subnet)
        ways: dict[str, Callable[[], list[str]]] = {
            "generate(), one at a time": lambda: _stock(active, examples),
            "our loop, one at a time": lambda: _in_batches(active, examples, 1),
            "our loop, in batches": lambda: _in_batches(active, examples, options.token_budget),
        }
        _report(ways, examples, tokenizer)
    if options.search:
        _report_searches(supernet, examples, settings, options)


def _report_searches(
    supernet: Supernet,
    examples: GenerationExamples,
    settings: TaskSettings,
    options: argparse.Namespace,
) -> None:
    labels = examples.labels
    found = []
    for way, cache in (("apart", None), ("shared", PrefixCache(CACHE_BYTES))):
        laps = laps_of(examples, None, supernet, token_budget=options.token_budget, cache=cache)

        def evaluate(subnet: SubnetConfig, laps: list[Lap] = laps) -> dict[str, float]:
            metrics = measure(supernet, subnet, laps, labels, GENERATION, settings=settings).metrics
            assert metrics is not None
            return metrics

        loop = search_loop(
            supernet.space,
            cost_model(supernet),
            "exact_match",
            rows=len(examples),
            max_length=max(map(len, examples.prompts)),
            budget={"evaluations": options.search},
        )
        start = time.process_time()
        measured = run_search(loop, evaluate)
        seconds = time.process_time() - start
        print(f"a search of {options.search}, prompts read {way}: {seconds:.1f} s")
        found.append([metrics["exact_match"] for _, metrics in measured])
    print(f"the same metrics: {found[0] == found[1]}")


def _report(
    ways: dict[str, Callable[[], list[str]]], examples: GenerationExamples, tokenizer: Any
) -> None:
    first: list[str] | None = None
    slowest = 0.0
    for name, write in ways.items():
        start = time.process_time()
        texts = write()
        seconds = time.process_time() - start
        first, slowest = first or texts, slowest or seconds
        tokens = sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts)
        print(
            f"{name:28} {seconds:8.2f} s  {tokens / seconds:8.0f} tokens/s  "
            f"{slowest / seconds:5.1f}x  same texts: "
            f"{sum(a == b for a, b in zip(texts, first, strict=True))} of {len(examples)}"
        )


def _stock(active: ActiveSubnet, examples: GenerationExamples) -> list[str]:
    def write(model: nn.Module) -> list[list[int]]:
        return [_generated(model, prompt, examples) for prompt in examples.prompts]

    return examples.decode(running(active, write))


def _generated(model: Any, prompt: Sequence[int], examples: GenerationExamples) -> list[int]:
    ids = torch.tensor([prompt])
    decoding = examples.decoding
    tokens: list[int] = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=decoding.max_new_tokens,
        num_beams=decoding.beams,
        do_sample=False,
        eos_token_id=list(decoding.ends) or None,
        pad_token_id=examples.pad_id,
    )[0, len(prompt) :].tolist()
    return tokens


def _in_batches(active: ActiveSubnet, examples: GenerationExamples, token_budget: int) -> list[str]:
    texts = [""] * len(examples)
    for batch in examples.batches(token_budget):
        written = write_texts(active, batch)
        for row, text in zip(batch.rows.tolist(), written, strict=True):
            texts[row] = text
    return texts


def _rows(path: Path, count: int) -> Rows:
    with path.open(encoding="utf-8") as file:
        read = [json.loads(line) for line, _ in zip(file, range(count), strict=False)]
    names = [name for name, value in read[0].items() if isinstance(value, str)]
    return Rows(
        {name: [row[name] for row in read] for name in names},
        np.array([str(row["label"]) for row in read], dtype=object),
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument(
        "--endless", action="store_true", help="write max-new-tokens behind every prompt"
    )
    parser.add_argument("--search", type=int, help="evaluations of a whole search")
    parser.add_argument("--token-budget", type=int, default=2048)
    parser.add_argument("--subnet", choices=("maximal", "minimal", "heuristic"), default="maximal")
    return parser.parse_args()


if __name__ == "__main__":
    main()
