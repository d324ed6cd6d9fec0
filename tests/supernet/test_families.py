"""Every family that comes with ElasticNAS keeps the contract."""

from __future__ import annotations

from elasticnas.supernet.contracts.families import FamilyContract
from elasticnas.supernet.families.bert import BERT
from elasticnas.supernet.families.distilbert import DISTILBERT
from elasticnas.supernet.families.roberta import ROBERTA


class TestBert(FamilyContract):
    family = BERT


class TestRoberta(FamilyContract):
    family = ROBERTA


class TestDistilBert(FamilyContract):
    family = DISTILBERT
