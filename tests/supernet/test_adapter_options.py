"""Adapters are what stock PEFT makes of their folder, or are refused by name."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.checkpoint.adapter_options import ADAPTER_OPTIONS
from elasticnas.supernet.checkpoint.options import Treatment
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.forward.activation import activate
from tests.supernet.tiny import write_checkpoint

IDS = torch.arange(5, 21).reshape(2, 8)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint without an adapter, whose space cuts heads and widths only."""
    return write_checkpoint(tmp_path_factory.mktemp("plain"), adapted=())


def with_adapter(plain: Path, folder: Path, **options: Any) -> Path:
    """The checkpoint with an adapter that stock PEFT made, its weights moved from their start."""
    shutil.copytree(plain, folder)
    torch.manual_seed(0)
    config = {"task_type": "SEQ_CLS", "r": 4, "lora_alpha": 8, "target_modules": ["query", "value"]}
    model = peft.get_peft_model(
        AutoModelForSequenceClassification.from_pretrained(folder / "base"),
        peft.LoraConfig(**config | options),
    )
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder / "adapter")
    return folder


def logits(folder: Path) -> torch.Tensor:
    supernet = read_supernet(folder)
    with torch.inference_mode():
        return activate(supernet, supernet.space.maximal).logits({"input_ids": IDS})


def stock_logits(folder: Path) -> torch.Tensor:
    base = AutoModelForSequenceClassification.from_pretrained(folder / "base")
    model = peft.PeftModel.from_pretrained(base, folder / "adapter").eval()
    with torch.inference_mode():
        found: torch.Tensor = model(input_ids=IDS).logits
    return found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"init_lora_weights": False},
        {"init_lora_weights": "gaussian"},
        {"init_lora_weights": "orthogonal"},
        {"init_lora_weights": "mica"},
        {"init_lora_weights": "eva"},
        {"use_rslora": True, "lora_dropout": 0.3, "fan_in_fan_out": True},
        {"target_modules": None},
        {"target_modules": "all-linear"},
        {"target_modules": r".*\.(query|dense)", "exclude_modules": r".*pooler.*"},
        {"target_modules": ["dense", "query"], "exclude_modules": ["pooler.dense"]},
        {"layers_to_transform": [0, 2]},
        {"layers_to_transform": 1, "layers_pattern": "layer"},
        {"modules_to_save": ["classifier", "word_embeddings", "pooler"]},
        {"rank_pattern": {"layer.1.attention.self.query": 2, r".*\.2\..*value": 3}},
        {"alpha_pattern": {"value": 3}, "rank_pattern": {"query": 1}, "use_rslora": True},
        {"task_type": None, "modules_to_save": ["classifier"]},
        {"ensure_weight_tying": True},
    ],
    ids=str,
)
def test_an_adapter_computes_what_stock_peft_makes_of_its_folder(plain: Path, tmp_path, options):
    folder = with_adapter(plain, tmp_path / "c", **options)
    torch.testing.assert_close(logits(folder), stock_logits(folder), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_the_remedy_for_an_adapter_that_changes_its_base_works(plain: Path, tmp_path: Path, start):
    folder = with_adapter(plain, tmp_path / "c", init_lora_weights=start)
    with pytest.raises(InputError, match=r"init_lora_weights.*= True.*save unload\(\)"):
        read_supernet(folder)
    expected = stock_logits(folder)
    base = AutoModelForSequenceClassification.from_pretrained(folder / "base")
    model = peft.PeftModel.from_pretrained(base, folder / "adapter")
    model.peft_config["default"].init_lora_weights = True
    shutil.rmtree(folder / "adapter")
    model.save_pretrained(folder / "adapter")
    model.unload().save_pretrained(folder / "base")
    torch.testing.assert_close(logits(folder), expected, rtol=1e-3, atol=1e-4)


def test_a_module_that_was_trained_and_is_not_in_the_file_is_named(plain: Path, tmp_path: Path):
    """PEFT's conversion of PiSSA to LoRA leaves the head out, and then cannot load the folder."""
    folder = with_adapter(plain, tmp_path / "c")
    file = folder / "adapter" / "adapter_model.safetensors"
    save_file({n: t for n, t in load_file(file).items() if "classifier" not in n}, file)
    with pytest.raises(InputError, match=r"adapter/classifier\.weight.*modules_to_save"):
        read_supernet(folder)


REFUSED = {
    "init_lora_weights": ["pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga", "nose"],
    "task_type": ["TOKEN_CLS", "CAUSAL_LM"],
    "peft_type": ["IA3", "ADALORA"],
    "bias": ["all", "lora_only"],
    "layer_replication": [[[0, 2], [1, 3]]],
    "trainable_token_indices": [[1, 2], {"word_embeddings": [1]}],
    "target_parameters": [["query.weight"]],
    "alora_invocation_tokens": [[5, 6]],
    "lora_alpha": [float("inf"), 0],
    "target_modules": [["key"], "nothing", ["attention.self.query"], "(broken", "(" * 5000],
    "use_rslora": ["false", 1, None],
    "exclude_modules": [["value"], r".*layer\.1\..*"],
    "layers_to_transform": [[0], 2],
    "modules_to_save": [["query"]],
    "rank_pattern": [{"(broken": 4}],
    "use_nose": [True],
}


@pytest.mark.parametrize(
    ("option", "value"), [(name, value) for name, values in REFUSED.items() for value in values]
)
def test_an_option_that_peft_would_follow_and_we_do_not_is_refused_by_name(
    plain: Path, tmp_path, option, value
):
    folder = with_adapter(plain, tmp_path / "c")
    edit(folder, lambda config: config.update({option: value}))
    with pytest.raises(InputError, match=rf"adapter_config\.json/{option}"):
        read_supernet(folder)


def test_every_refused_option_is_refused_when_it_is_set(plain: Path, tmp_path: Path):
    folder = with_adapter(plain, tmp_path / "c")
    stored = (folder / "adapter" / "adapter_config.json").read_text()
    names = [n for n, o in ADAPTER_OPTIONS.items() if o.treatment is Treatment.REFUSED]
    assert len(names) > 15
    for name in names:
        config = json.loads(stored)
        config[name] = {"a": 1}
        (folder / "adapter" / "adapter_config.json").write_text(json.dumps(config))
        with pytest.raises(InputError, match=f"/{name}"):
            read_supernet(folder)


def test_options_without_effect_have_none(plain: Path, tmp_path: Path):
    folder = with_adapter(plain, tmp_path / "c")
    expected = logits(folder)
    defaults = {f.name: f.default for f in dataclasses.fields(peft.LoraConfig)}
    edit(
        folder,
        lambda config: config.update(
            {
                name: 0.5 if isinstance(defaults.get(name), float) else {"anything": 1}
                for name, option in ADAPTER_OPTIONS.items()
                if option.treatment is Treatment.WITHOUT_EFFECT
            }
        ),
    )
    assert torch.equal(logits(folder), expected)


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = folder / "adapter" / "adapter_config.json"
    config = json.loads(file.read_text())
    change(config)
    file.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"lora_bias": True}, "lora_bias"),
        ({"bias": "all"}, "bias"),
        ({"init_lora_weights": "olora"}, "init_lora_weights"),
        ({"trainable_token_indices": [3]}, "trainable_token_indices"),
    ],
)
def test_an_adapter_that_peft_saved_with_such_an_option_is_refused(
    plain: Path, tmp_path, change, message
):
    with pytest.raises(InputError, match=rf"adapter_config\.json/{message}"):
        read_supernet(with_adapter(plain, tmp_path / "c", **change))


QUERY = "base_model.model.bert.encoder.layer.0.attention.self.query"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update({f"{QUERY}.lora_A.weight": t.pop(A).to(torch.int8)}), "int8"),
        (lambda t: t.update({f"{QUERY}.lora_A.SCB": torch.ones(4)}), "SCB.*quantised"),
        (lambda t: t.update({f"{QUERY}.bias": torch.ones(24)}), r"query\.bias.*PEFT would not"),
        (lambda t: t.update({f"{QUERY}.lora_A.default.weight": t[A].clone()}), "twice"),
        (lambda t: t.update({f"{QUERY}.lora_B.bias": torch.ones(24)}), "lora_B.bias"),
        (lambda t: t.update({f"{QUERY}.base_layer.bias": torch.ones(24)}), "base_layer"),
    ],
    ids=["int8", "scales", "own-bias", "twice", "lora-bias", "base-layer"],
)
def test_a_tensor_that_would_not_be_used_as_it_is_stored_is_refused(
    plain: Path, tmp_path, change, message
):
    folder = with_adapter(plain, tmp_path / "c")
    file = folder / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)
    with pytest.raises(InputError, match=message):
        read_supernet(folder)


A = f"{QUERY}.lora_A.weight"


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_fsdp_wrapped_module."])
def test_an_adapter_of_a_wrapped_model_is_read(plain: Path, tmp_path, prefix):
    folder = with_adapter(plain, tmp_path / "c")
    expected = logits(folder)
    file = folder / "adapter" / "adapter_model.safetensors"
    save_file({prefix + name: tensor for name, tensor in load_file(file).items()}, file)
    assert torch.equal(logits(folder), expected)


def test_a_pattern_that_would_never_end_is_refused(plain: Path, tmp_path: Path):
    folder = with_adapter(plain, tmp_path / "c")
    edit(folder, lambda config: config.update(target_modules=r"(.|.)*\d\d"))
    with pytest.raises(InputError, match=r"target_modules.*too long"):
        read_supernet(folder)
