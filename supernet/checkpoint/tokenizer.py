"""The tokenizer of a base model folder: AutoTokenizer's, without running code from the folder."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from transformers import (
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.checkpoint.json_file import json_text, read_object, refuse_pointer
from elasticnas.supernet.checkpoint.model_config import CONFIG_FIELD, read_config
from elasticnas.supernet.checkpoint.options import is_off
from elasticnas.supernet.checkpoint.tokenizer_options import LEFT_OUT, TOKENIZER_OPTIONS
from elasticnas.supernet.families.family import Family

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
)
"""What a tokenizer may consist of; an export carries those that are there."""

_CONFIG = "tokenizer_config.json"
_SENTENCE_PIECES = "tokenizer.model"
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json")
_GENERIC = ("TokenizersBackend", "PythonBackend", "PreTrainedTokenizerFast", "PreTrainedTokenizer")
"""Classes that say nothing of how a text is cut: AutoTokenizer reads tokenizer.json for them."""

_PROBE = ("\N{SNOWMAN} unheard-of", "\N{SNOWMAN}")
"""A pair of texts that no vocabulary holds."""


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer that AutoTokenizer makes of ``folder``, and of a folder exported from it.

    Raises:
        InputError: the folder holds no tokenizer, one that cannot be read, or one that gives tokens
            or token types that the model has no embeddings for.
    """
    family, config, _ = read_config(folder)
    if not any((folder / name).is_file() for name in (*_VOCABULARIES, _SENTENCE_PIECES)):
        raise InputError(
            "the base model has no tokenizer",
            field="base/tokenizer.json",
            remedy="add tokenizer.json, tokenizer.model, vocab.txt, or vocab.json with merges.txt",
        )
    with tempfile.TemporaryDirectory() as copied:
        copy_tokenizer(folder, Path(copied))
        tokenizer, type_ids = _made(Path(copied), config, field="base/tokenizer.json")
        _check_files(tokenizer, Path(copied))
    _check_embeddings(tokenizer, type_ids, family, config)
    return tokenizer


def takes_type_ids(tokenizer: PreTrainedTokenizerBase, family: Family) -> bool:
    """Whether the model is told which text of a pair a token belongs to."""
    return family.type_ids and "token_type_ids" in tokenizer.model_input_names


def copy_tokenizer(base: Path, folder: Path) -> None:
    """Copy the tokenizer's files, JSON as plain UTF-8, without what leads out of the folder.

    A SentencePiece model that stands alone gets the ``tokenizer.json`` that Transformers makes of
    it beside it, so that nobody needs the package sentencepiece to read the copy.

    Raises:
        InputError: one of them is not JSON, is no SentencePiece model, or holds an option that is
            refused.
    """
    _copy_files(base, folder)
    copied = [name for name in (*_VOCABULARIES, _SENTENCE_PIECES) if (folder / name).is_file()]
    if copied == [_SENTENCE_PIECES]:
        _, config, _ = read_config(base)
        tokenizer, _ = _made(folder, config, field=f"base/{_SENTENCE_PIECES}")
        assert isinstance(tokenizer, PreTrainedTokenizerFast)  # `_check_class` takes no other
        tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))


def _made(
    folder: Path, config: PretrainedConfig, *, field: str
) -> tuple[PreTrainedTokenizerBase, list[int]]:
    """AutoTokenizer's tokenizer of the folder, and the token types of a pair of texts."""
    _check_class(folder, config)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, config=config, local_files_only=True, trust_remote_code=False
        )
        return tokenizer, tokenizer(*_PROBE, return_token_type_ids=True)["token_type_ids"]
    except Exception as error:  # the tokenizers library raises bare Exception on bad files
        raise InputError(f"the tokenizer cannot be read: {error}", field=field) from error


def _copy_files(base: Path, folder: Path) -> None:
    for name in TOKENIZER_FILES:
        if not (base / name).is_file():
            continue
        if not name.endswith(".json"):
            refuse_pointer(base / name, field=f"base/{name}")
            shutil.copy(base / name, folder / name)
            continue
        content = read_object(base / name, field=f"base/{name}")
        text = (
            json.dumps(_checked(content), indent=2) if name == _CONFIG else json_text(base / name)
        )
        (folder / name).write_text(text, encoding="utf-8")


def _checked(content: dict[str, Any]) -> dict[str, Any]:
    """A ``tokenizer_config.json`` without the options that are left out."""
    for name, value in content.items():
        option = TOKENIZER_OPTIONS.get(name)
        if option is not None and option.refuses(value):
            raise option.refusal(value, field=f"base/{_CONFIG}/{name}")
    return {name: value for name, value in content.items() if name not in LEFT_OUT}


def _check_class(folder: Path, config: PretrainedConfig) -> None:
    """Refuse a tokenizer class that is Python code of its own, or no tokenizer at all."""
    found = (
        read_object(folder / _CONFIG, field=f"base/{_CONFIG}").get("tokenizer_class")
        if (folder / _CONFIG).is_file()
        else None
    )
    field = f"base/{_CONFIG}/tokenizer_class"
    if is_off(found):
        found, field = getattr(config, "tokenizer_class", None), f"{CONFIG_FIELD}/tokenizer_class"
    if is_off(found) or found in _GENERIC:
        return
    kind = None
    if isinstance(found, str) and found.isidentifier():
        name = found.removesuffix("Fast")
        kind = tokenizer_class_from_name(name) or tokenizer_class_from_name(f"{name}Fast")
    if isinstance(found, str) and kind is None:
        return  # AutoTokenizer takes a class that it does not know for a generic one
    if not isinstance(kind, type) or not issubclass(kind, PreTrainedTokenizerFast):
        raise InputError(
            "a tokenizer of this class is not read: it is none of the tokenizers library",
            field=field,
            value=found,
            remedy="save it as tokenizer.json, with the class TokenizersBackend",
        )


def _check_files(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Without its files Transformers makes a tokenizer that knows five tokens, and no word."""
    if (folder / "tokenizer.json").is_file():
        return
    for key, name in type(tokenizer).vocab_files_names.items():
        if key != "tokenizer_file" and not ((folder / name).is_file() and name in TOKENIZER_FILES):
            raise InputError(
                f"a tokenizer of class {type(tokenizer).__name__} needs this file",
                field=f"base/{name}",
                remedy="add it, or tokenizer.json, or name the right tokenizer_class in "
                "tokenizer_config.json",
            )


def _check_embeddings(
    tokenizer: PreTrainedTokenizerBase,
    type_ids: list[int],
    family: Family,
    config: PretrainedConfig,
) -> None:
    """Every token and token type must have an embedding, whatever a dataset's texts hold."""
    vocabulary = tokenizer.get_vocab()
    tokens, embeddings = max(vocabulary.values(), default=-1) + 1, int(config.vocab_size)
    if tokens > embeddings:
        beyond = sorted(token for token, index in vocabulary.items() if index >= embeddings)
        raise InputError(
            f"the tokenizer has {tokens} tokens, the model {embeddings} embeddings",
            field="base/tokenizer.json",
            value=", ".join(beyond[:5]) + (", ..." if len(beyond) > 5 else ""),
            remedy="resize the embeddings before training (resize_token_embeddings), or take the "
            "added tokens out of the tokenizer",
        )
    if not takes_type_ids(tokenizer, family):
        return
    types, known = max(type_ids) + 1, int(config.type_vocab_size)
    if types > known:
        raise InputError(
            f"the tokenizer gives {types} token types, the model has embeddings for {known}",
            field=f"{CONFIG_FIELD}/type_vocab_size",
            value=known,
            remedy='use the tokenizer that the model was trained with, or set "model_input_names" '
            'to ["input_ids", "attention_mask"] in tokenizer_config.json',
        )
