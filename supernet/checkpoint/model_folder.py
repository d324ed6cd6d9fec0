"""Writing a model with all of its weights as a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel

from elasticnas.supernet.checkpoint.tokenizer import copy_tokenizer


def write_model(model: PreTrainedModel, source: Path, output: Path) -> Path:
    """Write ``model`` into the new folder ``output``, with the tokenizer of ``source``.

    Returns:
        ``output``.
    """
    model.save_pretrained(output)
    copy_tokenizer(source, output)
    return output
