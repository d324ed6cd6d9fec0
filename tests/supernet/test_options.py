"""Every option that PEFT, Transformers and tokenizers write is known, and is in the docs."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import peft
import pytest
from transformers import (
    BertTokenizer,
    GemmaTokenizer,
    GenerationConfig,
    GPTNeoXTokenizer,
    LlamaTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
    RobertaTokenizer,
)

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.checkpoint.adapter_options import ADAPTER_OPTIONS
from elasticnas.supernet.checkpoint.options import Option, Treatment, check_options, is_off
from elasticnas.supernet.checkpoint.tokenizer_options import LEFT_OUT, TOKENIZER_OPTIONS
from elasticnas.supernet.families import DECODERS, ENCODERS, FAMILIES
from elasticnas.supernet.families.config_options import COMMON_OPTIONS
from elasticnas.supernet.families.decoder import DECODER_OPTIONS
from elasticnas.supernet.families.family import Family
from tests.supernet.test_activation import FAMILY_NAMES

DOCS = Path(__file__).parents[2] / "docs"

BUILT_IN = (*ENCODERS, *DECODERS)
INTERNAL = {
    *("tokenizer", "tokenizer_object", "tokenizer_truncation", "tokenizer_padding"),
    "post_processor",
}
"""Arguments of tokenizers that are objects, which no JSON file can hold."""


def unknown(names: Iterable[str], table: dict[str, Option]) -> list[str]:
    return sorted(set(names) - set(table))


def test_every_option_of_a_lora_config_is_known():
    written = {field.name for field in dataclasses.fields(peft.LoraConfig)}
    assert unknown(written | set(peft.LoraConfig().to_dict()), ADAPTER_OPTIONS) == []


@pytest.mark.parametrize("family", BUILT_IN, ids=lambda family: family.model_type)
def test_every_option_of_a_model_config_is_known(family: Family):
    fields = {field.name for field in dataclasses.fields(family.config_class)}
    written = fields | set(family.config_class().to_dict())
    written |= set(family.config_class.attribute_map)
    written |= set(GenerationConfig._get_default_generation_params())
    assert unknown(written, family.options) == []


def test_every_option_of_a_tokenizer_is_known():
    taken = {"tokenizer_class"}
    decoders = (LlamaTokenizer, Qwen2Tokenizer, GPTNeoXTokenizer, GemmaTokenizer)
    for kind in (BertTokenizer, RobertaTokenizer, *decoders):
        taken |= set(inspect.signature(kind.__init__).parameters)
    for kind in (PreTrainedTokenizerFast, PreTrainedTokenizerBase):
        source = inspect.getsource(kind.__init__)
        taken |= set(re.findall(r"kwargs\.(?:pop|get|setdefault)\(\s*\"(\w+)\"", source))
    taken |= set(PreTrainedTokenizerBase.SPECIAL_TOKENS_ATTRIBUTES)
    taken = {name for name in taken if not name.startswith("_")}
    assert unknown(taken - INTERNAL - {"self", "args", "kwargs"}, TOKENIZER_OPTIONS) == []


@pytest.mark.parametrize("config", [peft.LoraConfig(target_modules=["query"])], ids=["lora"])
def test_what_stock_peft_writes_by_default_is_read(config: peft.LoraConfig):
    written = json.loads(json.dumps(config.to_dict(), default=list))
    check_options(written, ADAPTER_OPTIONS, field="adapter_config.json")


@pytest.mark.parametrize("family", BUILT_IN, ids=lambda family: family.model_type)
def test_what_stock_transformers_writes_by_default_is_read(family: Family):
    written = json.loads(family.config_class().to_json_string(use_diff=False))
    check_options(written, family.options, field="config.json")


def test_an_option_that_nobody_knows_is_refused_by_name_unless_it_is_off():
    for value in (None, False, "", [], {}):
        check_options({"use_nose": value}, ADAPTER_OPTIONS, field="adapter_config.json")
    for value in (True, 1, 0.5, "on", [3], {"a": 1}):
        with pytest.raises(InputError, match=r"adapter_config\.json/use_nose.*not known"):
            check_options({"use_nose": value}, ADAPTER_OPTIONS, field="adapter_config.json")


def test_an_option_that_is_refused_may_be_off_in_any_way():
    empty = {"adapters": {}, "config_map": {}, "fusion_config_map": {}, "fusions": {}}
    for table in (FAMILIES[name].options for name in FAMILY_NAMES):
        check_options({"adapters": empty, "pruned_heads": {}}, table, field="config.json")
        check_options({"add_cross_attention": 0, "rope_theta": 0.0}, table, field="config.json")
        for value in (1, {"adapters": {"a": "b"}, "fusions": {}}, [0]):
            with pytest.raises(InputError, match=r"config\.json/adapters"):
                check_options({"adapters": value}, table, field="config.json")


def test_what_other_libraries_add_to_a_config_is_read():
    added = {
        "_num_labels": 2,
        "sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity",
        "sentence_transformers": {"version": "4.0", "activation_fn": "torch.nn.Sigmoid"},
    }
    for table in (FAMILIES[name].options for name in FAMILY_NAMES):
        check_options(added, table, field="config.json")


def all_tables() -> dict[str, dict[str, Option]]:
    return {
        "adapter_config.json": ADAPTER_OPTIONS,
        **{f"config.json ({family.model_type})": family.options for family in BUILT_IN},
        "tokenizer_config.json": TOKENIZER_OPTIONS,
    }


def test_a_refusal_says_what_to_do():
    for table in all_tables().values():
        for name, option in table.items():
            assert (option.treatment is Treatment.REFUSED) == (option.remedy is not None), name
            assert not any(is_off(value) for value in option.accepted), name


def test_what_is_left_out_of_a_tokenizer_config_is_said_to_be_without_effect():
    assert {TOKENIZER_OPTIONS[name].treatment for name in LEFT_OUT} == {Treatment.WITHOUT_EFFECT}


def rows(table: dict[str, Option]) -> list[str]:
    """A table's rows as the docs hold them: options of one verdict and note share a row."""
    shared: dict[tuple[str, str], list[str]] = {}
    for name, option in table.items():
        shared.setdefault((option.verdict, option.note), []).append(f"`{name}`")
    order = [treatment.value for treatment in Treatment]
    return [
        f"| {', '.join(names)} | {verdict} | {note} |"
        for (verdict, note), names in sorted(
            shared.items(), key=lambda row: order.index(row[0][0].partition(" unless")[0])
        )
    ]


def beside(table: Mapping[str, Option], known: Mapping[str, Option]) -> dict[str, Option]:
    """The options that a table has and ``known`` has not, or says otherwise."""
    return {name: option for name, option in table.items() if known.get(name) != option}


def documented(page: str) -> str:
    """What a page of the docs should say of options."""
    of = {family.model_type: family.options for family in BUILT_IN}
    parts: dict[str, dict[str, dict[str, Option]]] = {
        "formats.md": {
            "### `adapter_config.json`": ADAPTER_OPTIONS,
            "### `tokenizer_config.json`": TOKENIZER_OPTIONS,
        },
        "families.md": {
            "### All families": COMMON_OPTIONS,
            "### BERT and RoBERTa, besides": beside(of["bert"], COMMON_OPTIONS),
            "### DistilBERT, besides": beside(of["distilbert"], COMMON_OPTIONS),
            "### All decoders, besides": beside(DECODER_OPTIONS, COMMON_OPTIONS),
            "### LLaMA, besides": beside(of["llama"], DECODER_OPTIONS),
            "### Mistral, besides LLaMA's": beside(of["mistral"], of["llama"]),
            "### Qwen2, besides LLaMA's": beside(of["qwen2"], of["llama"]),
            "### Qwen3, besides Qwen2's": beside(of["qwen3"], of["qwen2"]),
            "### Gemma, besides LLaMA's": beside(of["gemma"], of["llama"]),
            "### GPT-NeoX, besides": beside(of["gpt_neox"], DECODER_OPTIONS),
            "### BLOOM, besides": beside(of["bloom"], DECODER_OPTIONS),
        },
    }
    head = ["", "| option | what is done | what it is |", "| --- | --- | --- |"]
    lines = [
        line for title, table in parts[page].items() for line in (title, *head, *rows(table), "")
    ]
    return "\n".join(lines).strip()


@pytest.mark.parametrize("page", ["formats.md", "families.md"])
def test_the_docs_say_of_every_option_what_is_done_with_it(page: str):
    """``python -m tests.supernet.test_options families.md`` prints what the page should hold."""
    assert FAMILIES["bert"].options == FAMILIES["roberta"].options
    assert documented(page) in (DOCS / page).read_text(encoding="utf-8")


if __name__ == "__main__":
    print(documented(sys.argv[1]))
