"""Token ids are those of stock AutoTokenizer, on the folder that was uploaded and on the export."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.checkpoint.tokenizer import read_tokenizer
from elasticnas.supernet.export.transformers_folder import write_transformers_folder
from elasticnas.supernet.measuring.examples import LabelledTexts, tokenize
from elasticnas.tasks import TEXT_CLASSIFICATION
from tests.supernet.test_activation import FAMILY_NAMES
from tests.supernet.test_export import card
from tests.supernet.tiny import tiny_model, write_checkpoint

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXTS = [
    "A good Film",
    "CAFÉ café cafe\u0301",
    "电影 is good",
    "[MASK] and <user>  [SEP] x",
    " Leading and  double spaces ",
    "",
]
PAIR = ("A good Film, and a longer one", "not Bad")


def word_piece(folder: Path, *, lowercase: bool = True) -> None:
    """``vocab.txt`` and a ``tokenizer.json`` that lower-cases or not."""
    characters = [*LETTERS, *LETTERS.upper(), *"é电影<>,.É"]
    words = [*SPECIAL, *characters, *(f"##{c}" for c in characters), "good", "film", "Film", "bad"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    tokenizer = Tokenizer(
        models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(folder / "tokenizer.json"))


def byte_level(folder: Path) -> None:
    """``vocab.json``, ``merges.txt`` and ``tokenizer.json`` as RoBERTa has them."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("g", "o"), ("go", "o"), ("goo", "d"), ("Ġ", "good")]
    words = [*special, *alphabet, *("".join(pair) for pair in merges)]
    vocabulary = {word: i for i, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    lines = "".join(f"{left} {right}\n" for left, right in merges)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{lines}", encoding="utf-8")
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "tokenizer.json"))


BERT_OPTIONS: list[dict[str, Any]] = [
    {"do_lower_case": False, "tokenizer_class": "BertTokenizer"},
    {"do_lower_case": True, "strip_accents": False},
    {"strip_accents": True, "do_lower_case": False},
    {"tokenize_chinese_chars": False},
    {"never_split": ["Film"], "do_basic_tokenize": False},
    {"tokenizer_class": "BertTokenizerFast", "do_lower_case": False, "model_max_length": 4},
    {"tokenizer_class": "DistilBertTokenizer", "do_lower_case": False},
    {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": False},
    {"tokenizer_class": "TokenizersBackend", "pad_token": "[PAD]", "unk_token": "[UNK]"},
    {"tokenizer_class": "NoSuchTokenizer", "do_lower_case": False},
    {"truncation_side": "left", "padding_side": "left"},
    {"split_special_tokens": True},
    {"model_input_names": ["input_ids", "attention_mask"]},
    {"sep_token": "[MASK]", "mask_token": "[SEP]"},
    {"additional_special_tokens": ["<user>"]},
    {"extra_special_tokens": {"user_token": "<user>"}},
    {"added_tokens_decoder": {"4": {"content": "[MASK]", "special": True, "lstrip": True}}},
    {"clean_up_tokenization_spaces": True, "a_note_of_mine": 3},
    {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}, "tokenizer_class": "BertTokenizer"},
    {"vocab_file": "/etc/hostname", "tokenizer_file": "/etc/hostname", "name_or_path": "/etc"},
]
ROBERTA_OPTIONS: list[dict[str, Any]] = [
    {"add_prefix_space": True},
    {"add_prefix_space": True, "tokenizer_class": "RobertaTokenizer", "trim_offsets": False},
    {"add_prefix_space": True, "tokenizer_class": "RobertaTokenizerFast"},
    {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True},
    {"tokenizer_class": "PreTrainedTokenizerFast", "add_prefix_space": True},
    {"truncation_side": "left", "add_eos_token": True},
    {"cls_token": "</s>"},
]


def folders(tmp_path: Path) -> list[tuple[str, Path]]:
    """Every combination of architecture, files and options: base folders without their weights."""
    made = []
    configs = {model_type: tiny_config(model_type) for model_type in FAMILY_NAMES}
    files = (("json",), ("vocabulary",), ("json", "vocabulary"))
    grid = [
        *product(("bert", "distilbert"), files, (True, False), [None, *BERT_OPTIONS]),
        *product(("roberta",), files, (True,), [None, *ROBERTA_OPTIONS]),
    ]
    for number, (model_type, kinds, lowercase, options) in enumerate(grid):
        if not lowercase and "json" not in kinds:
            continue  # a vocabulary alone says nothing of case
        folder = tmp_path / str(number)
        folder.mkdir()
        if model_type == "roberta":
            byte_level(folder)
        else:
            word_piece(folder, lowercase=lowercase)
        if "json" not in kinds:
            (folder / "tokenizer.json").unlink()
        if "vocabulary" not in kinds:
            for name in ("vocab.txt", "vocab.json", "merges.txt"):
                (folder / name).unlink(missing_ok=True)
        config = configs[model_type] | {"vocab_size": 400}
        (folder / "config.json").write_text(json.dumps(config))
        if options is not None:
            (folder / "tokenizer_config.json").write_text(json.dumps(options))
        made.append((f"{model_type} {kinds} {lowercase} {options}", folder))
    return made


def tiny_config(model_type: str) -> dict[str, Any]:
    return json.loads(tiny_model(model_type).config.to_json_string())  # type: ignore[no-any-return]


def ids_of(tokenizer: PreTrainedTokenizerBase) -> list[object]:
    """Token ids and token types of texts and of a pair, whole and cut."""
    found: list[object] = []
    for length in (32, 6):
        called = {"truncation": True, "max_length": length}
        found += [dict(tokenizer(text, **called)) for text in TEXTS]
        found.append(dict(tokenizer(*PAIR, **called)))
    return found


def stock(folder: Path) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    return tokenizer


def test_ids_are_those_of_auto_tokenizer_whatever_the_options(tmp_path: Path):
    differing, refused = [], []
    for name, folder in folders(tmp_path):
        try:
            ours = ids_of(read_tokenizer(folder))
        except InputError as error:
            refused.append(f"{name}: {error}")
            continue
        if ours != ids_of(stock(folder)):
            differing.append(name)
    assert differing == []
    # Without tokenizer.json a class must find its own files; with it everything is read.
    assert all("('vocabulary',)" in name for name in refused), refused
    assert len(refused) < 30, refused


@pytest.mark.parametrize(
    ("model_type", "options"),
    [
        ("bert", BERT_OPTIONS[0]),
        ("bert", BERT_OPTIONS[1]),
        ("bert", BERT_OPTIONS[14]),
        ("distilbert", BERT_OPTIONS[12]),
        ("roberta", ROBERTA_OPTIONS[0]),
    ],
)
def test_an_exported_folder_gives_the_ids_that_were_measured(tmp_path: Path, model_type, options):
    folder = write_checkpoint(tmp_path / "c", model_type, adapted=())
    base = folder / "base"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (base / name).unlink()
    (byte_level if model_type == "roberta" else word_piece)(base)
    (base / "tokenizer_config.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(options).encode())
    resize_embeddings(base, 400)
    supernet = read_supernet(folder)
    out = tmp_path / "out"
    out.mkdir()
    write_transformers_folder(supernet, supernet.space.maximal, card(), out)
    ours = load_tokenizer(supernet)
    assert ids_of(ours) == ids_of(stock(out))
    measured = tokenize(
        LabelledTexts([PAIR[0]], [PAIR[1]], [0]),
        ours,
        supernet.family,
        task=TEXT_CLASSIFICATION,
        max_length=6,
    )
    expected = stock(out)(*PAIR, truncation=True, max_length=6)
    assert measured.token_ids == [expected["input_ids"]]
    if model_type != "distilbert":
        types = expected.get("token_type_ids")
        assert measured.type_ids == (None if types is None else [types])


def resize_embeddings(base: Path, rows: int) -> None:
    """The same model with room for ``rows`` tokens."""
    model = AutoModelForSequenceClassification.from_pretrained(base)
    model.resize_token_embeddings(rows)
    model.save_pretrained(base)


def test_the_class_that_config_json_names_is_taken_too(tmp_path: Path):
    folder = tmp_path
    word_piece(folder)
    config = tiny_config("roberta") | {"vocab_size": 400, "tokenizer_class": "BertTokenizer"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    assert ids_of(read_tokenizer(folder)) == ids_of(stock(folder))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokenizer_class": "BertJapaneseTokenizer"}, r"tokenizer_class.*none of the tokenizers"),
        ({"tokenizer_class": "BertweetTokenizer"}, r"tokenizer_class.*none of the tokenizers"),
        ({"tokenizer_class": "AutoModel"}, r"tokenizer_class.*AutoModel"),
        ({"tokenizer_class": "pipeline"}, r"tokenizer_class.*pipeline"),
        ({"tokenizer_class": 3}, r"tokenizer_class.*3"),
        ({"init_inputs": ["x"]}, "init_inputs"),
        ({"fast_tokenizer_files": ["tokenizer.4.0.0.json"]}, "fast_tokenizer_files"),
        ({"gguf_file": "model.gguf"}, "gguf_file"),
        ({"padding_side": "middle"}, "tokenizer"),
    ],
)
def test_a_tokenizer_that_is_not_read_is_refused_by_name(tmp_path: Path, options, message):
    folder = write_checkpoint(tmp_path)
    (folder / "base" / "tokenizer_config.json").write_text(json.dumps(options))
    with pytest.raises(InputError, match=message):
        read_supernet(folder)


def test_a_class_without_its_vocabulary_is_refused(tmp_path: Path):
    folder = write_checkpoint(tmp_path, "roberta")
    (folder / "base" / "tokenizer.json").unlink()
    (folder / "base" / "tokenizer_config.json").unlink()
    word_piece(folder / "base")
    (folder / "base" / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"RobertaTokenizer needs this file"):
        read_supernet(folder)


def test_tokens_beyond_the_embeddings_are_refused_at_registration(tmp_path: Path):
    folder = write_checkpoint(tmp_path)
    tokenizer = stock(folder / "base")
    known = len(tokenizer)
    tokenizer.add_tokens(["<user>", "<url>"])
    tokenizer.save_pretrained(folder / "base")
    with pytest.raises(
        InputError, match=rf"{known + 2} tokens, the model {known} embeddings.*<url>, <user>.*resiz"
    ):
        read_supernet(folder)


def test_token_types_beyond_the_embeddings_are_refused_at_registration(tmp_path: Path):
    word_piece(tmp_path)
    config = tiny_config("bert") | {"vocab_size": 400, "type_vocab_size": 1}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"type_vocab_size.*2 token types.*embeddings for 1"):
        read_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"model_input_names": ["input_ids", "attention_mask"]})
    )
    read_tokenizer(tmp_path)


def test_a_vocabulary_without_its_unknown_token_is_refused_at_registration(tmp_path: Path):
    folder = write_checkpoint(tmp_path)
    file = folder / "base" / "tokenizer.json"
    content = json.loads(file.read_text())
    content["model"]["unk_token"] = "[NONE]"
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match="tokenizer cannot be read"):
        read_supernet(folder)
