"""The tokenizer of a base model folder, without running code from it."""

from __future__ import annotations

from pathlib import Path

from transformers import (
    BertTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
)

from api_schemas.problems import InputError

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)
"""What a tokenizer may consist of; an export carries those that are there."""


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """``tokenizer.json`` where there is one, else a WordPiece or BPE vocabulary.

    Raises:
        InputError: the folder holds no tokenizer, or one that cannot be read.
    """
    try:
        if (folder / "tokenizer.json").is_file():
            return _load(PreTrainedTokenizerFast, folder)
        if (folder / "vocab.txt").is_file():
            return _load(BertTokenizer, folder)
        if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            return _load(RobertaTokenizer, folder)
    except Exception as error:  # the tokenizers library raises bare Exception on bad files
        raise InputError(
            f"the tokenizer cannot be read: {error}", field="base/tokenizer.json"
        ) from error
    raise InputError(
        "the base model has no tokenizer",
        field="base/tokenizer.json",
        remedy="add tokenizer.json, vocab.txt, or vocab.json with merges.txt",
    )


def _load(kind: type[PreTrainedTokenizerBase], folder: Path) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = kind.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    return tokenizer
