"""The families of models that are read: one file for each."""

from elasticnas.api_schemas.registry import Registry
from elasticnas.supernet.families.bert import BERT
from elasticnas.supernet.families.distilbert import DISTILBERT
from elasticnas.supernet.families.family import Family
from elasticnas.supernet.families.llama import LLAMA
from elasticnas.supernet.families.roberta import ROBERTA

FAMILIES = Registry[Family]("model family")
for family in (BERT, ROBERTA, DISTILBERT, LLAMA):
    FAMILIES.register(family.model_type, family)
