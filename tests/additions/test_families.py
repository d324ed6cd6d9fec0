"""A family of one's own, in one file, keeps the contract like those that come with ElasticNAS."""

from __future__ import annotations

from elasticnas.supernet.contracts.families import FamilyContract
from tests.additions.family_qwen import QWEN2


class TestQwen2(FamilyContract):
    family = QWEN2


class TestQwen2WithTiedEmbeddings(FamilyContract):
    family = QWEN2
    options = {"tie_word_embeddings": True}  # noqa: RUF012
