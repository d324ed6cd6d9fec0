"""The families of models that are read: one file for each."""

from elasticnas.api_schemas.registry import Registry
from elasticnas.supernet.families.bert import BERT
from elasticnas.supernet.families.bloom import BLOOM
from elasticnas.supernet.families.distilbert import DISTILBERT
from elasticnas.supernet.families.family import Family
from elasticnas.supernet.families.flexibert import FLEXIBERT
from elasticnas.supernet.families.gemma import GEMMA
from elasticnas.supernet.families.gpt_neox import GPT_NEOX
from elasticnas.supernet.families.llama import LLAMA
from elasticnas.supernet.families.mistral import MISTRAL
from elasticnas.supernet.families.qwen2 import QWEN2
from elasticnas.supernet.families.qwen3 import QWEN3
from elasticnas.supernet.families.roberta import ROBERTA

ENCODERS = (BERT, ROBERTA, DISTILBERT)
DECODERS = (LLAMA, MISTRAL, QWEN2, QWEN3, GEMMA, GPT_NEOX, BLOOM)

FAMILIES = Registry[Family]("model family")
for family in (*ENCODERS, *DECODERS, FLEXIBERT):
    FAMILIES.register(family.model_type, family)
