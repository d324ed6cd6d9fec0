"""What a recipe begins with: a pretrained or fine-tuned model, and rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.training import LossOn, RowSettings
from elasticnas.supernet.checkpoint.base_model import (
    BaseModel,
    classifier_for_training,
    read_base_model,
    spans_for_training,
)
from elasticnas.supernet.checkpoint.tokenizer import read_tokenizer
from elasticnas.supernet.families.family import HeadKind
from elasticnas.supernet.measuring.encoder import TokenizerEncoder
from elasticnas.supernet.measuring.examples import LabelledTexts, tokenize
from elasticnas.supernet.measuring.spans import in_windows
from elasticnas.supernet.measuring.trees import TreeExamples
from elasticnas.supernet.methods.step import TrainingData
from elasticnas.supernet.training.rows import AnsweredRows, LabelledRows, TrainingRows
from elasticnas.supernet.training.span_rows import SpanRows
from elasticnas.tasks.items import Scored
from elasticnas.tasks.task import LabelsOfDataset, RowsOfDataset


def pretrained(base: Path, data: TrainingData) -> BaseModel:
    """The model of ``base`` with the head that the data's task needs, an encoder's a new one.

    Raises:
        InputError: the model cannot be read, or has no such head.
    """
    if data.task.head is HeadKind.CLASSIFIER:
        return classifier_for_training(base, data.labels, data.label_names)
    if data.task.head is HeadKind.SPANS:
        return spans_for_training(base)
    model = read_base_model(base, {})
    if model.task_head.kind is not data.task.head:
        raise InputError(
            f"{data.task.name} is learnt by a language model, and this is none",
            field="base/config.json/model_type",
            value=model.family.model_type,
            remedy="begin with a causal language model, or choose a task of classifiers",
        )
    return model


def fine_tuned(base: Path, data: TrainingData) -> BaseModel:
    """The model of ``base`` with its own head, which must be one for the data's task.

    Raises:
        InputError: the model cannot be read, or gives something else than the rows are labelled by.
    """
    if data.task.head is HeadKind.CAUSAL_LM:
        return pretrained(base, data)
    model = read_base_model(base, {})
    if data.task.head is HeadKind.SPANS:
        return _of_spans(model, data)
    if model.task_head.kind is not HeadKind.CLASSIFIER:
        raise InputError(
            f"{data.task.name} is a task of classifiers, and this model is none",
            field="base/config.json/architectures",
            value=type(model.model).__name__,
            remedy="give rows of the task that the model was fine-tuned for",
        )
    outputs = len(model.model.get_parameter(f"{model.task_head.logits}.weight"))
    if (outputs == 1) is not (data.labels == 1) or data.labels > outputs:
        raise InputError(
            f"the model gives {outputs} numbers, the rows are labelled by {data.labels}",
            field="base/config.json/num_labels",
            value=outputs,
            remedy="give rows of the task that the model was fine-tuned for",
        )
    return model


def _of_spans(model: BaseModel, data: TrainingData) -> BaseModel:
    if model.task_head.kind is not HeadKind.SPANS:
        raise InputError(
            f"{data.task.name} is answered by a head of starts and ends, and this model has none",
            field="base/config.json/architectures",
            value=type(model.model).__name__,
            remedy="give rows of the task that the model was fine-tuned for",
        )
    return model


def training_rows(
    base: Path, data: TrainingData, settings: RowSettings, model: BaseModel
) -> TrainingRows:
    """The data's rows as the model is to see them.

    Raises:
        InputError: a setting of the task does not fit the rows, or a row is longer than the model
            has positions for.
    """
    tokenizer = read_tokenizer(base)
    rows: TrainingRows
    if data.task.head is HeadKind.CLASSIFIER:
        data.task.settle(settings.task_settings, _described(data))
        texts = LabelledTexts.of(data.rows)
        rows = LabelledRows(
            tokenize(
                texts, tokenizer, model.family, task=data.task, max_length=settings.max_length
            ),
            data.task,
        )
    elif data.task.head is HeadKind.SPANS:
        task_settings = data.task.settle(settings.task_settings, _described(data))
        data.task.require_length(task_settings, settings.max_length)
        rows = SpanRows.of(
            data.rows,
            in_windows(
                data.rows, data.task, task_settings, tokenizer, model.family, settings.max_length
            ),
        )
    else:
        rows = _answered(data, settings, tokenizer)
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


def _answered(
    data: TrainingData, settings: RowSettings, tokenizer: PreTrainedTokenizerBase
) -> AnsweredRows:
    """Prompts with their answers, as evaluations of the task have them."""
    task_settings = data.task.settle(settings.task_settings, _described(data))
    sequences = data.task.taught(
        data.rows, task_settings, TokenizerEncoder(tokenizer), settings.max_length, _end(tokenizer)
    )
    if settings.loss_on is LossOn.TEXT:
        sequences = [Scored(each.tokens, 1) for each in sequences]
    pad_id = tokenizer.pad_token_id
    return AnsweredRows(
        TreeExamples.of(
            [(each,) for each in sequences],
            np.zeros(len(sequences), np.int64),
            pad_id=int(0 if pad_id is None else pad_id),
            shares=False,
        )
    )


def _described(data: TrainingData) -> RowsOfDataset:
    names = data.label_names
    labels = LabelsOfDataset(data.labels, names, names_given=names is not None)
    return RowsOfDataset(data.rows.columns, labels, data.rows.choices is not None)


def _end(tokenizer: PreTrainedTokenizerBase) -> int:
    if tokenizer.eos_token_id is None:
        raise InputError(
            "the tokenizer has no last token of a text, so an answer could never end",
            field="base/tokenizer_config.json/eos_token",
            remedy="name the token in tokenizer_config.json",
        )
    return int(tokenizer.eos_token_id)
