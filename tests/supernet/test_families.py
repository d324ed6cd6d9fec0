"""Every family that comes with ElasticNAS keeps the contract."""

from __future__ import annotations

from elasticnas.supernet.contracts.families import FamilyContract
from elasticnas.supernet.families.bert import BERT
from elasticnas.supernet.families.distilbert import DISTILBERT
from elasticnas.supernet.families.llama import LLAMA
from elasticnas.supernet.families.roberta import ROBERTA


class TestBert(FamilyContract):
    family = BERT


class TestRoberta(FamilyContract):
    family = ROBERTA


class TestDistilBert(FamilyContract):
    family = DISTILBERT


class TestLlama(FamilyContract):
    family = LLAMA


class TestLlamaWithTiedHeadAndBiases(FamilyContract):
    family = LLAMA
    options = {  # noqa: RUF012
        "tie_word_embeddings": True,
        "attention_bias": True,
        "mlp_bias": True,
        "rope_parameters": {"rope_type": "linear", "rope_theta": 500.0, "factor": 2.0},
    }
