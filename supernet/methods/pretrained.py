"""What a training begins with: a pretrained model, and the rows that it learns."""

from __future__ import annotations

from pathlib import Path

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.training import TrainingSettings
from elasticnas.supernet.checkpoint.base_model import BaseModel, classifier_for_training
from elasticnas.supernet.checkpoint.tokenizer import read_tokenizer
from elasticnas.supernet.measuring.examples import tokenize
from elasticnas.supernet.methods.step import TrainingData
from elasticnas.supernet.training.rows import LabelledRows, TrainingRows


def pretrained(base: Path, data: TrainingData) -> BaseModel:
    """The model of ``base`` with the head that the data's task needs, a classifier's a new one.

    Raises:
        InputError: the model cannot be read, or has no such head.
    """
    return classifier_for_training(base, data.labels, data.label_names)


def training_rows(
    base: Path, data: TrainingData, settings: TrainingSettings, model: BaseModel
) -> TrainingRows:
    """The data's rows as the model is to see them.

    Raises:
        InputError: a row is longer than the model has positions for.
    """
    examples = tokenize(
        data.rows,
        read_tokenizer(base),
        model.family,
        task=data.task,
        max_length=settings.max_length,
    )
    rows = LabelledRows(examples, data.task)
    longest = max(rows.lengths, default=0)
    carried = model.family.longest(model.model.config)
    if longest > carried:
        raise InputError(
            f"a row has {longest} tokens, the model carries {carried} positions",
            field="max_length",
            value=settings.max_length,
            remedy=f"cut rows to at most {carried} tokens",
        )
    return rows
