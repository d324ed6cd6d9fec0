"""Tokenizers of decoders, as published models have them, give AutoTokenizer's own ids."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers import AutoTokenizer

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.checkpoint.options import check_options
from elasticnas.supernet.checkpoint.tokenizer import copy_tokenizer, read_tokenizer
from elasticnas.supernet.checkpoint.tokenizer_options import TOKENIZER_OPTIONS
from tests.supernet.test_decoder_configs import PUBLISHED

TEXTS = [
    "A good film, isn't it?",
    " a leading space\n\nand 12,345 digits\t",
    "Ünïcödé 电影 🙂 <s> </s> <unk>",
    "<|begin_of_text|>x<|endoftext|>",
    "",
]
MERGES = [("g", "o"), ("go", "o"), ("goo", "d"), ("i", "n"), ("t", "h")]


def sentence_pieces(first: tuple[str, ...]) -> Tokenizer:
    """SentencePiece's BPE as it was converted for LLaMA, Mistral and Gemma: bytes as fallback."""
    pieces = [
        *first,
        *(f"<0x{byte:02X}>" for byte in range(256)),
        *("▁", *map(chr, range(33, 127))),
        *("".join(pair) for pair in MERGES),
        "▁good",
    ]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    merges = [*MERGES, ("▁", "good")]
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens([AddedToken(each, special=True) for each in first])
    return tokenizer


def llama_2(folder: Path) -> dict[str, Any]:
    tokenizer = sentence_pieces(("<unk>", "<s>", "</s>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "special_tokens_map.json").write_text('{"bos_token": "<s>", "eos_token": "</s>"}')
    special = {"__type": "AddedToken", "lstrip": False, "normalized": False, "single_word": False}
    return {
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": {**special, "content": "<s>", "rstrip": False},
        "chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}",
        "clean_up_tokenization_spaces": False,
        "eos_token": {**special, "content": "</s>", "rstrip": False},
        "legacy": False,
        "model_max_length": 1000000000000000019884624838656,
        "pad_token": None,
        "padding_side": "right",
        "sp_model_kwargs": {},
        "tokenizer_class": "LlamaTokenizer",
        "unk_token": {**special, "content": "<unk>", "rstrip": False},
        "use_default_system_prompt": False,
    }


def mistral(folder: Path) -> dict[str, Any]:
    options = llama_2(folder)
    return {
        **options,
        "add_prefix_space": None,
        "added_tokens_decoder": {
            str(number): {"content": content, "special": True, "normalized": False}
            for number, content in enumerate(("<unk>", "<s>", "</s>"))
        },
        "additional_special_tokens": [],
        "legacy": True,
        "spaces_between_special_tokens": False,
    }


def byte_level(special: tuple[str, ...], *, at_the_end: bool = True) -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*alphabet, *("".join(pair) for pair in MERGES)]
    words = [*words, *special] if at_the_end else [*special, *words]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocabulary, MERGES))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(each, special=True) for each in special])
    return tokenizer


def llama_3(folder: Path) -> dict[str, Any]:
    special = ("<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>")
    tokenizer = byte_level(special)
    digits = Regex(r"\p{N}{1,3}|[^\r\n\p{L}\p{N}]?\p{L}+|\s+|[^\s\p{L}\p{N}]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(digits, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    number = tokenizer.token_to_id(special[0])
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(add_prefix_space=True, trim_offsets=False),
            processors.TemplateProcessing(
                single=f"{special[0]} $A",
                pair=f"{special[0]} $A {special[0]}:1 $B:1",
                special_tokens=[(special[0], number)],
            ),
        ]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return {
        "added_tokens_decoder": {
            str(tokenizer.token_to_id(each)): {"content": each, "special": True} for each in special
        },
        "bos_token": special[0],
        "clean_up_tokenization_spaces": True,
        "eos_token": special[1],
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 131072,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def llama_3_named_llama_2(folder: Path) -> dict[str, Any]:
    """What fine-tuning tools made of LLaMA 3 at first."""
    return {**llama_3(folder), "tokenizer_class": "LlamaTokenizer", "legacy": False}


def qwen(folder: Path) -> dict[str, Any]:
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    tokenizer = byte_level(special)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.save(str(folder / "tokenizer.json"))
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    merges = "".join(f"{left} {right}\n" for left, right in MERGES)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}", encoding="utf-8")
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "additional_special_tokens": list(special[1:]),
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": special[2],
        "errors": "replace",
        "model_max_length": 131072,
        "pad_token": special[0],
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }


def bloom(folder: Path) -> dict[str, Any]:
    tokenizer = byte_level(("<unk>", "<s>", "</s>", "<pad>"), at_the_end=False)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.save(str(folder / "tokenizer.json"))
    return {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "name_or_path": "bigscience/tokenizer",
        "pad_token": "<pad>",
        "padding_side": "left",
        "special_tokens_map_file": None,
        "tokenizer_class": "BloomTokenizerFast",
        "unk_token": "<unk>",
    }


def pythia(folder: Path) -> dict[str, Any]:
    tokenizer = byte_level(("<|endoftext|>", "<|padding|>"), at_the_end=False)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.save(str(folder / "tokenizer.json"))
    return {
        "add_prefix_space": False,
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "name_or_path": "EleutherAI/gpt-neox-20b",
        "special_tokens_map_file": "/admin/home-hailey/.cache/special_tokens_map.json",
        "tokenizer_class": "GPTNeoXTokenizer",
        "unk_token": "<|endoftext|>",
    }


def gemma(folder: Path) -> dict[str, Any]:
    tokenizer = sentence_pieces(("<pad>", "<eos>", "<bos>", "<unk>", "<mask>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return {
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": "<bos>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "sp_model_kwargs": {},
        "spaces_between_special_tokens": False,
        "tokenizer_class": "GemmaTokenizer",
        "unk_token": "<unk>",
        "use_default_system_prompt": False,
    }


TOKENIZERS: dict[str, tuple[str, Callable[[Path], dict[str, Any]]]] = {
    "LLaMA 2": ("LLaMA 2 7B", llama_2),
    "Mistral": ("Mistral 7B v0.3", mistral),
    "LLaMA 3": ("LLaMA 3.2 1B", llama_3),
    "LLaMA 3, named after LLaMA 2": ("LLaMA 3 8B", llama_3_named_llama_2),
    "Qwen2.5": ("Qwen2.5 0.5B Instruct", qwen),
    "Qwen3": ("Qwen3 0.6B", qwen),
    "BLOOM": ("BLOOM 560M", bloom),
    "Pythia": ("Pythia 1.4B", pythia),
    "Gemma": ("Gemma 2B", gemma),
}


def write(folder: Path, name: str, **changed: Any) -> Path:
    """A base folder without weights: config, tokenizer and the tokenizer's options."""
    model, tokenizer = TOKENIZERS[name]
    (folder / "config.json").write_text(json.dumps(PUBLISHED[model]), encoding="utf-8")
    options = tokenizer(folder) | changed
    (folder / "tokenizer_config.json").write_text(json.dumps(options), encoding="utf-8")
    return folder


def ids(tokenizer: Any) -> list[object]:
    bare = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    return [*bare, *(tokenizer(text)["input_ids"] for text in TEXTS)]


@pytest.mark.parametrize("changed", [{}, {"add_bos_token": False}, {"add_eos_token": True}])
@pytest.mark.parametrize("name", TOKENIZERS)
def test_ids_are_those_of_auto_tokenizer(name: str, changed: dict[str, Any], tmp_path: Path):
    write(tmp_path, name, **changed)
    stock = AutoTokenizer.from_pretrained(tmp_path)
    ours = read_tokenizer(tmp_path)
    assert ids(ours) == ids(stock)
    assert [ours.decode(each) for each in ids(ours)] == [stock.decode(each) for each in ids(ours)]
    assert (ours.pad_token_id, ours.eos_token_id) == (stock.pad_token_id, stock.eos_token_id)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_its_files_are_carried_into_an_export(name: str, tmp_path: Path):
    base, out = tmp_path / "base", tmp_path / "out"
    base.mkdir()
    out.mkdir()
    copy_tokenizer(write(base, name), out)
    (out / "config.json").write_bytes((base / "config.json").read_bytes())
    assert ids(AutoTokenizer.from_pretrained(out)) == ids(read_tokenizer(base))


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_options_of_published_tokenizers_are_known(name: str, tmp_path: Path):
    options = json.loads((write(tmp_path, name) / "tokenizer_config.json").read_text())
    check_options(options, TOKENIZER_OPTIONS, field="tokenizer_config.json")


@pytest.fixture(scope="module")
def sentence_piece_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained as LLaMA's was: BPE, bytes as fallback, digits apart, no normalisation."""
    prefix = tmp_path_factory.mktemp("pieces") / "tokenizer"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a good thing in the inn", "good films, 12345 things"] * 50),
        model_prefix=str(prefix),
        vocab_size=300,
        model_type="bpe",
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    return prefix.with_suffix(".model")


def test_a_sentence_piece_model_alone_is_read_and_handed_out_as_json(
    tmp_path: Path, sentence_piece_model: Path
):
    """The ids are the model's own, but for spaces at the beginning, which Transformers joins."""
    base, out = tmp_path / "base", tmp_path / "out"
    base.mkdir()
    out.mkdir()
    write(base, "LLaMA 2")
    (base / "tokenizer.json").unlink()
    (base / "tokenizer.model").write_bytes(sentence_piece_model.read_bytes())
    pieces = sentencepiece.SentencePieceProcessor(str(sentence_piece_model))
    texts = [text for text in TEXTS if "<" not in text and not text.startswith(" ")]
    tokenizer = read_tokenizer(base)
    assert [tokenizer(text)["input_ids"] for text in texts] == [
        [1, *pieces.encode(text)] for text in texts
    ]
    copy_tokenizer(base, out)
    (out / "tokenizer.model").unlink()
    (out / "config.json").write_bytes((base / "config.json").read_bytes())
    assert ids(AutoTokenizer.from_pretrained(out)) == ids(tokenizer)


def test_a_file_that_is_no_sentence_piece_model_is_refused(tmp_path: Path):
    write(tmp_path, "LLaMA 2")
    (tmp_path / "tokenizer.json").rename(tmp_path / "tokenizer.model")
    with pytest.raises(InputError, match=r"base/tokenizer\.model: the tokenizer cannot be read"):
        read_tokenizer(tmp_path)
