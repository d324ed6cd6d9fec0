"""The tokens that a language model's texts end with, as its own files say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig

from elasticnas.supernet.checkpoint.json_file import read_object

GENERATION_FILE = "generation_config.json"


def read_end_tokens(base: Path, config: PretrainedConfig) -> tuple[int, ...]:
    """Those of ``generation_config.json``, else of the ``config``, as Transformers has it.

    Raises:
        InputError: the file is no JSON object.
    """
    path = base / GENERATION_FILE
    said = _ends(read_object(path, field=f"base/{GENERATION_FILE}")) if path.is_file() else ()
    return said or _ends(config.to_dict())


def _ends(options: Mapping[str, Any]) -> tuple[int, ...]:
    found = options.get("eos_token_id")
    listed = found if isinstance(found, list) else [found]
    return tuple(token for token in listed if type(token) is int)
