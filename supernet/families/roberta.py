"""RoBERTa (Liu et al. 2019): BERT's blocks; positions begin behind the padding token's id."""

from __future__ import annotations

from dataclasses import replace

from transformers import (
    RobertaConfig,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
)

from elasticnas.supernet.families.bert import BERT
from elasticnas.supernet.families.family import HeadKind, TaskHead

ROBERTA = replace(
    BERT,
    model_type="roberta",
    config_class=RobertaConfig,
    task_heads=(
        TaskHead(
            HeadKind.CLASSIFIER,
            RobertaForSequenceClassification,
            logits="classifier.out_proj",
            one_token=("classifier.dense", "classifier.out_proj"),
            trained=("classifier",),
            reads_first_token=True,
        ),
        TaskHead(
            HeadKind.SPANS,
            RobertaForQuestionAnswering,
            logits="qa_outputs",
            trained=("qa_outputs",),
        ),
    ),
    model="roberta",
    layers="roberta.encoder.layer",
    embeddings="roberta.embeddings",
    dropped_out="roberta.embeddings.dropout",
    positions_after_padding=True,
)
