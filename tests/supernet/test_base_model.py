"""Base models as other programs write them: shards, prefixes, quantised weights, odd configs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.report import report
from tests.supernet.test_activation import FAMILY_NAMES
from tests.supernet.tiny import write_checkpoint

Tensors = dict[str, torch.Tensor]
IDS = torch.arange(5, 21).reshape(2, 8)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each architecture, without an adapter."""
    return {
        model_type: write_checkpoint(tmp_path_factory.mktemp(model_type), model_type, adapted=())
        for model_type in FAMILY_NAMES
    }


@pytest.fixture
def folder(stored: dict[str, Path], tmp_path: Path) -> Path:
    """A BERT of one's own to change."""
    return Path(shutil.copytree(stored["bert"], tmp_path / "c"))


def tensors_of(folder: Path) -> Tensors:
    return dict(read_supernet(folder).tensors)


def assert_same(found: Tensors, expected: Tensors) -> None:
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def rename(folder: Path, change: Callable[[str], str]) -> None:
    file = folder / "base" / "model.safetensors"
    save_file({change(name): tensor for name, tensor in load_file(file).items()}, file)


def edit_tensors(folder: Path, change: Callable[[Tensors], object]) -> None:
    file = folder / "base" / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


def edit_config(folder: Path, **options: Any) -> None:
    file = folder / "base" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | options))


def split(folder: Path, *, pickles: bool) -> Path:
    """The weights in two shards with an index; returns the index."""
    whole = folder / "base" / "model.safetensors"
    tensors = load_file(whole)
    whole.unlink()
    names = list(tensors)
    stem, end = ("pytorch_model", "bin") if pickles else ("model", "safetensors")
    weight_map = {}
    for number, part in enumerate((names[:10], names[10:]), 1):
        shard = f"{stem}-{number:05}-of-00002.{end}"
        held = {name: tensors[name] for name in part}
        if pickles:
            torch.save(held, folder / "base" / shard)
        else:
            save_file(held, folder / "base" / shard)
        weight_map |= dict.fromkeys(part, shard)
    index = folder / "base" / f"{stem}.{end}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}), "utf-8-sig")
    return index


@pytest.mark.parametrize("pickles", [False, True])
def test_shards_are_read_whatever_they_are(folder: Path, pickles):
    expected = tensors_of(folder)
    split(folder, pickles=pickles)
    assert_same(tensors_of(folder), expected)


@pytest.mark.parametrize("pickles", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i["weight_map"].update(x="missing.bin"), "not in the folder.*missing"),
        (lambda i: i["weight_map"].update(x="../config.json"), "not in the folder"),
        (lambda i: i["weight_map"].update(x=5), "not in the folder.*5"),
        (lambda i: i.update(weight_map=[]), "no usable weight_map"),
        (lambda i: i.pop("weight_map"), "no usable weight_map"),
    ],
)
def test_an_index_at_fault_is_named(folder: Path, pickles, change, message):
    index = split(folder, pickles=pickles)
    content = json.loads(index.read_text("utf-8-sig"))
    change(content)
    index.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"base/{index.name}.*{message}"):
        read_supernet(folder)


@pytest.mark.parametrize("model_type", FAMILY_NAMES)
@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "model.",
        "_orig_mod.",
        "module._orig_mod.",
        "_orig_mod.module.",
        "_fsdp_wrapped_module.",
        "_forward_module.model.",
    ],
)
def test_what_wrapped_the_model_leaves_no_trace(
    stored: dict[str, Path], tmp_path: Path, model_type, prefix
):
    folder = Path(shutil.copytree(stored[model_type], tmp_path / "c"))
    expected = tensors_of(folder)
    rename(folder, lambda name: prefix + name)
    assert_same(tensors_of(folder), expected)


def test_a_wrapper_of_every_layer_leaves_no_trace(folder: Path):
    expected = tensors_of(folder)
    rename(
        folder,
        lambda name: name.replace("attention.self.", "_checkpoint_wrapped_module.attention.self."),
    )
    assert_same(tensors_of(folder), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update({f"student.{n}": t.pop(n) for n in list(t)}), r"prefix.*student\."),
        (lambda t: t.update({f"module.{n}": v.clone() for n, v in t.items()}), "two tensors|more"),
        (lambda t: t.update({f"ema.{n}": v.clone() for n, v in t.items()}), "more than one model"),
        (lambda t: t.update({LAYER + "query.lora_A.weight": torch.ones(4, 24)}), "of an adapter"),
        (
            lambda t: t.update({LAYER + "distance_embedding.weight": torch.ones(7, 6)}),
            "distance_embedding.*has no such tensor",
        ),
    ],
    ids=["unknown-prefix", "twice", "two-models", "adapter", "other-arithmetic"],
)
def test_tensors_that_tell_of_another_model_are_refused(folder: Path, change, message):
    edit_tensors(folder, change)
    with pytest.raises(InputError, match=message):
        read_supernet(folder)


LAYER = "bert.encoder.layer.0.attention.self."


def test_tensors_that_no_classifier_uses_are_left_out(folder: Path):
    expected = tensors_of(folder)
    edit_tensors(
        folder,
        lambda t: t.update(
            {
                "bert.embeddings.position_ids": torch.arange(64)[None],
                "cls.predictions.bias": torch.ones(3),
                "lm_head.weight": torch.ones(3, 3),
            }
        ),
    )
    assert_same(tensors_of(folder), expected)


def test_layers_that_the_config_leaves_out_are_left_out_as_transformers_does(folder: Path):
    edit_config(folder, num_hidden_layers=2)
    space = json.loads((folder / "search_space.json").read_text())
    space["dimensions"] = [d for d in space["dimensions"] if "layer.2" not in d["name"]]
    (folder / "search_space.json").write_text(json.dumps(space))
    assert_logits_are_stock(folder)


def assert_logits_are_stock(folder: Path) -> None:
    supernet = read_supernet(folder).to(torch.device("cpu"), torch.float32)
    stock = AutoModelForSequenceClassification.from_pretrained(folder / "base").float().eval()
    with torch.inference_mode():
        found = activate(supernet, supernet.space.maximal).logits({"input_ids": IDS})
        torch.testing.assert_close(found, stock(input_ids=IDS).logits)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floating_weights_of_any_width_are_read(folder: Path, dtype):
    edit_tensors(folder, lambda t: t.update({n: v.to(dtype) for n, v in t.items()}))
    assert_logits_are_stock(folder)


def by_eight_bits(tensors: Tensors) -> None:
    for name, weight in list(tensors.items()):
        if ".layer." in name and weight.ndim == 2:
            scale = weight.abs().amax(1)
            tensors[name] = (weight / scale[:, None] * 127).round().to(torch.int8)
            tensors[name.replace(".weight", ".SCB")] = scale


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (by_eight_bits, r"SCB.*quantised.*dequantize"),
        (
            lambda t: t.update({QUERY: t[QUERY].to(torch.float8_e4m3fn)}),
            rf"base/{LAYER}query.weight.*float8_e4m3fn.*dequantize",
        ),
        (lambda t: t.update({QUERY: t[QUERY].to(torch.int8)}), "query.weight.*int8"),
        (lambda t: t.update({QUERY: t[QUERY].to(torch.uint8)}), "query.weight.*uint8"),
        (lambda t: t.update({QUERY: t[QUERY] > 0}), "query.weight.*bool"),
        (lambda t: t.update({QUERY + "_scale_inv": torch.ones(1)}), "weight_scale_inv.*quantised"),
        (lambda t: t.update({LAYER + "query.qweight": torch.ones(1)}), "qweight.*quantised"),
        (lambda t: t.update({QUERY + "_packed": torch.ones(1)}), "weight_packed.*quantised"),
        (lambda t: t.update({QUERY + ".absmax": torch.ones(1)}), "absmax.*quantised"),
        (
            lambda t: t.update({QUERY + ".quant_state.bitsandbytes__nf4": torch.ones(1)}),
            "quant_state.*quantised",
        ),
    ],
    ids=[
        *("bitsandbytes", "float8", "int8", "uint8", "bool", "scale-inv", "gptq", "packed"),
        *("nf4", "nf4-state"),
    ],
)
def test_quantised_weights_are_refused_by_name(folder: Path, change, message):
    edit_tensors(folder, change)
    with pytest.raises(InputError, match=message):
        read_supernet(folder)


QUERY = LAYER + "query.weight"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"problem_type": "multi_label_classification"}, "problem_type.*multi_label"),
        ({"problem_type": "regression"}, "problem_type.*2 outputs.*single_label"),
        ({"problem_type": "nose"}, "problem_type.*nose"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config.*dequantize"),
        ({"is_decoder": True}, "is_decoder.*decoder"),
        ({"add_cross_attention": True}, "add_cross_attention"),
        ({"is_encoder_decoder": True}, "is_encoder_decoder"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type.*absolute"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads"),
        ({"per_layer_config": {"0": {"intermediate_size": 8}}}, "per_layer_config"),
        ({"linear_shapes": {"a": [1, 2]}}, "linear_shapes.*super-network itself"),
        ({"feed_forward_type": "geglu"}, "feed_forward_type.*not known"),
        ({"rope_theta": 10000.0}, "rope_theta"),
        ({"transformers_weights": "other.safetensors"}, "transformers_weights"),
        ({"architectures": ["BertForMultipleChoice"]}, "architectures.*BertForMultipleChoice"),
        ({"architectures": ["BertForTokenClassification"]}, "architectures"),
        ({"pad_token_id": 99}, "pad_token_id.*27 embeddings.*99"),
        ({"hidden_act": "prelu"}, "hidden_act"),
        ({"layer_norm_eps": float("inf")}, "layer_norm_eps"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_config_that_changes_the_arithmetic_is_refused_by_name(folder: Path, options, message):
    edit_config(folder, **options)
    with pytest.raises(InputError, match=rf"base/config\.json/{message}"):
        read_supernet(folder)


@pytest.mark.parametrize(
    "options",
    [
        {"hidden_act": "tanh"},
        {"hidden_act": "quick_gelu", "layer_norm_eps": 0.1},
        {"problem_type": "single_label_classification", "num_labels": 2},
        {"chunk_size_feed_forward": 4, "use_cache": True, "tie_weights_": True},
        {"classifier_dropout": 0.4, "hidden_dropout_prob": 0.0, "initializer_range": 0.5},
        {"directionality": "bidi", "pooler_fc_size": 768, "pooler_type": "first_token_transform"},
        {"gradient_checkpointing": True, "finetuning_task": "sst2", "torch_dtype": "float16"},
        {"is_decoder": False, "pruned_heads": {}, "position_embedding_type": "absolute"},
        {"pad_token_id": None, "bos_token_id": 3, "max_length": 20},
        {"id2label": {"0": 0, "1": 1}, "label2id": {"0": 0, "1": 1}},
        {"architectures": None},
    ],
    ids=str,
)
def test_any_other_config_computes_what_stock_transformers_makes_of_it(folder: Path, options):
    edit_config(folder, **options)
    assert_logits_are_stock(folder)


@pytest.mark.parametrize(
    ("id2label", "names"),
    [
        ({"0": 0, "1": 1}, ("0", "1")),
        ({"1": 2.5, "0": True}, ("True", "2.5")),
        ({"0": "no", "1": "yes"}, ("no", "yes")),
        ({"0": "LABEL_0", "1": "LABEL_1"}, None),
        ({"0": "same", "1": "same"}, None),
        ({"0": None, "1": None}, None),
        (None, None),
    ],
)
def test_classes_are_named_by_texts_or_numbers(folder: Path, id2label, names):
    edit_config(folder, id2label=id2label)
    assert report(read_supernet(folder)).label_names == names


def test_one_output_is_regression_and_nothing_else(tmp_path: Path):
    folder = write_checkpoint(tmp_path, labels=1, adapted=())
    edit_config(folder, problem_type="regression")
    assert report(read_supernet(folder)).num_labels == 1
    for other in ("single_label_classification", "multi_label_classification"):
        edit_config(folder, problem_type=other)
        with pytest.raises(InputError, match=r"problem_type.*1 output can be measured as regres"):
            read_supernet(folder)


def test_a_base_of_another_task_may_get_its_head_from_the_adapter(tmp_path: Path):
    folder = write_checkpoint(tmp_path)
    edit_config(folder, architectures=["BertForTokenClassification"])
    assert read_supernet(folder).num_labels == 2


def test_distilbert_knows_the_common_names_of_its_sizes(stored: dict[str, Path], tmp_path: Path):
    folder = Path(shutil.copytree(stored["distilbert"], tmp_path / "c"))
    file = folder / "base" / "config.json"
    content = json.loads(file.read_text())
    for other, own in (("hidden_size", "dim"), ("num_hidden_layers", "n_layers")):
        content[other] = content.pop(own)
    file.write_text(json.dumps(content))
    assert_logits_are_stock(folder)
    edit_config(folder, dim=8)
    with pytest.raises(InputError, match=r"hidden_size.*another name of dim"):
        read_supernet(folder)


def test_roberta_needs_the_padding_it_counts_positions_from(
    stored: dict[str, Path], tmp_path: Path
):
    folder = Path(shutil.copytree(stored["roberta"], tmp_path / "c"))
    assert report(read_supernet(folder)).max_positions == 63  # behind padding 0
    for pad, message in ((None, "pad_token_id.*null"), (27, "pad_token_id.*embeddings")):
        edit_config(folder, pad_token_id=pad)
        with pytest.raises(InputError, match=message):
            read_supernet(folder)
    edit_config(folder, pad_token_id=20, max_position_embeddings=21)
    with pytest.raises(InputError, match=r"max_position_embeddings.*no position is left"):
        read_supernet(folder)


ENCODINGS = ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_json_is_read_in_every_encoding_that_windows_writes(tmp_path: Path, encoding):
    folder = write_checkpoint(tmp_path)
    expected = read_supernet(folder)
    for name in (
        "base/config.json",
        "base/tokenizer.json",
        "base/tokenizer_config.json",
        "adapter/adapter_config.json",
        "search_space.json",
    ):
        text = (folder / name).read_text(encoding="utf-8")
        (folder / name).write_text(text, encoding=encoding)
    found = read_supernet(folder)
    assert found.space == expected.space
    assert_same(dict(found.tensors), dict(expected.tensors))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x00\xff\xfe\x81", "not valid JSON"),
        (b"", "not valid JSON"),
        (b'{"dimensions": []}', "no dimension"),
        (b'{"dimensions": {}}', "dimensions"),
        (b'{"dimension": []}', "dimension"),
        (b'{"dimensions": [{"name": "depth", "kind": "depth", "choices": "3"}]}', "choices"),
        (b'{"dimensions": [{"name": "depth", "kind": "depth", "choices": [2, 1]}]}', "3 layers"),
        (b'{"dimensions": [{"name": "depth", "kind": "depth", "choices": [3, 3]}]}', "choices"),
        (b'{"dimensions": [{"name": "depth", "kind": "depth"}]}', "choices"),
        (b'{"dimensions": [{"name": "depth", "kind": "nose", "choices": [3]}]}', "kind"),
        (b'{"dimensions": [{"name": "d\\u0000", "kind": "depth", "choices": [3]}]}', "name"),
        (b'{"dimensions": [3]}', "dimensions/0"),
    ],
)
def test_a_space_file_at_fault_is_named(folder: Path, content, message):
    (folder / "search_space.json").write_bytes(content)
    with pytest.raises(InputError, match=rf"(?s)(search_space\.json|depth|dimensions).*{message}"):
        read_supernet(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged"),
        (b"garbage", "damaged"),
        (b"PK\x03\x04garbage", "damaged"),
        ({"a": torch.nn.Linear(2, 2)}, r"more than tensors.*torch\.nn\.modules\.linear\.Linear"),
        ({"state_dict": {"a": torch.ones(1)}}, "not a dictionary from names to tensors"),
        ([torch.ones(1)], "not a dictionary from names to tensors"),
    ],
    ids=["empty", "garbage", "zip", "module", "nested", "list"],
)
def test_a_refused_pickle_is_told_of_in_our_own_words(folder: Path, content, message):
    (folder / "base" / "model.safetensors").unlink()
    file = folder / "base" / "pytorch_model.bin"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(InputError, match=message) as refusal:
        read_supernet(folder)
    assert "safetensors" in str(refusal.value)
    assert "weights_only" not in str(refusal.value)
