"""The checkpoint and the labelled rows that a benchmark is run on: its first arguments."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from elasticnas.supernet.checkpoint.reader import load_tokenizer
from elasticnas.supernet.measuring.examples import LabelledTexts, TokenizedExamples, tokenize
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import TEXT_CLASSIFICATION


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``checkpoint``, ``data`` and how to read it."""
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path, help="JSONL with a text column and an integer label")
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="label")
    parser.add_argument("--max-length", type=int, default=64)
    parser.add_argument("--rows", type=int, help="only the first so many; all unless given")


def read_examples(supernet: Supernet, options: argparse.Namespace) -> TokenizedExamples:
    """The rows of ``options.data``, tokenised for ``supernet``."""
    rows = [json.loads(line) for line in options.data.read_text(encoding="utf-8").splitlines()][
        : options.rows
    ]
    return tokenize(
        LabelledTexts([r[options.text] for r in rows], None, [r[options.label] for r in rows]),
        load_tokenizer(supernet),
        supernet.family,
        task=TEXT_CLASSIFICATION,
        max_length=options.max_length,
    )
