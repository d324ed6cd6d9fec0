"""Load exported weights as a stranger would, and measure them.

Run as a script in a process of its own: ``python reproduce.py FOLDER ROWS.jsonl MAX_LENGTH``. It
uses stock transformers, refuses to import ElasticNAS, and prints the accuracy.
"""

from __future__ import annotations

import importlib.abc
import json
import sys
from pathlib import Path


class _NotInstalledHere(importlib.abc.MetaPathFinder):
    """Makes ElasticNAS unimportable."""

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
        if name.partition(".")[0] == "elasticnas":
            raise ImportError(f"{name} is not to be used here")


def main(folder: str, rows_file: str, max_length: str) -> None:
    """Print the accuracy of the model in ``folder`` on the rows, truncated to ``max_length``."""
    sys.meta_path.insert(0, _NotInstalledHere())
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [json.loads(line) for line in Path(rows_file).read_text(encoding="utf-8").splitlines()]
    right = 0
    with torch.inference_mode():
        for start in range(0, len(rows), 32):
            batch = rows[start : start + 32]
            encoded = tokenizer(
                [row["sentence"] for row in batch],
                padding=True,
                truncation=True,
                max_length=int(max_length),
                return_tensors="pt",
            )
            for row, index in zip(batch, model(**encoded).logits.argmax(-1).tolist(), strict=True):
                right += model.config.id2label[index] == row["library"]
    print(right / len(rows))


if __name__ == "__main__":
    main(*sys.argv[1:4])
