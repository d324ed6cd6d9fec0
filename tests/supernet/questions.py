"""A small super-network of extractive question answering, and rows to ask it."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from elasticnas.supernet.contracts.checkpoints import VOCABULARY, write_checkpoint
from elasticnas.supernet.families.family import Family, HeadKind


def asking(family: Family) -> Family:
    """The family with the head of question answering alone."""
    heads = tuple(head for head in family.task_heads if head.kind is HeadKind.SPANS)
    return replace(family, task_heads=heads)


def write_asked(folder: Path, family: Family, *, adapted: bool = True) -> Path:
    """A checkpoint of the family with the head of question answering."""
    return write_checkpoint(folder, asking(family), adapted=adapted)


def move_head(folder: Path) -> None:
    """Have the adapter's file hold the head, as PEFT writes it, and the base another's."""
    base, adapter = (
        folder / "base" / "model.safetensors",
        folder / "adapter" / "adapter_model.safetensors",
    )
    tensors = load_file(base)
    head = {name: tensors.pop(name) for name in list(tensors) if name.startswith("qa_outputs")}
    save_file(tensors, base)
    saved = {f"base_model.model.{name}": tensor for name, tensor in head.items()}
    save_file({**load_file(adapter), **saved}, adapter)
    config = folder / "adapter" / "adapter_config.json"
    said = {**json.loads(config.read_text()), "modules_to_save": ["qa_outputs"]}
    config.write_text(json.dumps(said))


def rows(count: int, longest: int = 40, seed: int = 5) -> list[dict[str, Any]]:
    """Questions, contexts of up to ``longest`` words, and one to three spans of them, or none."""
    rng = random.Random(seed)

    def words(fewest: int, most: int) -> list[str]:
        return [f"w{rng.randrange(5, VOCABULARY - 8)}" for _ in range(rng.randint(fewest, most))]

    found = []
    for _ in range(count):
        context, texts, starts = words(1, longest), [], []
        for _ in range(rng.randint(0, 3)):
            first = rng.randrange(len(context))
            texts.append(" ".join(context[first : first + rng.randint(1, 3)]))
            starts.append(len(" ".join([*context[:first], ""])))
        answers = {"text": texts, "answer_start": starts}
        question = " " * rng.randint(0, 2) + " ".join(words(1, 6))
        found.append({"question": question, "context": " ".join(context), "answers": answers})
    return found
