"""A family of one's own, in one file, keeps the contract like those that come with ElasticNAS."""

from __future__ import annotations

from elasticnas.supernet.contracts.families import FamilyContract
from tests.additions.family_seed_oss import SEED_OSS


class TestSeedOss(FamilyContract):
    family = SEED_OSS


class TestSeedOssWithTiedEmbeddings(FamilyContract):
    family = SEED_OSS
    options = {"tie_word_embeddings": True}  # noqa: RUF012
