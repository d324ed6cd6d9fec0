"""A small language model with a tokenizer whose texts end, and rows that it can be taught."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from elasticnas.supernet.contracts.checkpoints import write_checkpoint
from elasticnas.supernet.families import FAMILIES
from elasticnas.supernet.families.family import Family
from elasticnas.supernet.methods.step import TrainingData
from elasticnas.tasks import MULTIPLE_CHOICE
from elasticnas.tasks.rows import Rows

CAUSAL = [name for name in FAMILIES if FAMILIES[name].is_causal and name != "qwen2"]
"""Without Qwen2, for which Transformers always takes its own tokenizer, and that knows no words."""
END = 3
"""The id of the token behind an answer."""


def write_language_model(folder: Path, family: Family) -> Path:
    """A Hugging Face folder with random weights."""
    base = write_checkpoint(folder, family, adapted=False) / "base"
    file = base / "tokenizer_config.json"
    config = json.loads(file.read_text()) | {"bos_token": "[CLS]", "eos_token": "[SEP]"}
    file.write_text(json.dumps(config))
    return base


def questions(count: int = 24) -> TrainingData:
    """Of two choices the right one is the one whose word the text begins with."""
    generator = torch.Generator().manual_seed(0)
    texts, labels = [], []
    for _ in range(count):
        length = int(torch.randint(1, 9, (1,), generator=generator))
        words = torch.randint(5, 24, (length,), generator=generator)
        label = int(torch.randint(2, (1,), generator=generator))
        texts.append(" ".join([f"w{6 + label}", *(f"w{word}" for word in words.tolist())]))
        labels.append(label)
    rows = Rows({"text": texts}, np.array(labels), [["w6", "w7 w8"]] * count)
    return TrainingData(rows, MULTIPLE_CHOICE, 2)
