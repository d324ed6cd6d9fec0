"""Configs of decoders as the hub holds them are read as Transformers reads them.

Each is a ``config.json`` of a published model; to run, it is narrowed to a few channels.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.checkpoint.base_model import read_base_model
from elasticnas.supernet.checkpoint.model_config import read_config
from elasticnas.supernet.checkpoint.options import Treatment
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.contracts.checkpoints import HIDDEN, RANK, VOCABULARY, write_checkpoint
from elasticnas.supernet.families import FAMILIES

WITHOUT_EFFECT = Treatment.WITHOUT_EFFECT
LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 11008,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "rms_norm_eps": 1e-06,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "use_cache": True,
    "vocab_size": 32000,
}
LLAMA_3: dict[str, Any] = {
    **LLAMA,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 128000,
    "eos_token_id": 128001,
    "intermediate_size": 14336,
    "max_position_embeddings": 8192,
    "num_key_value_heads": 8,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 500000.0,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.40.0.dev0",
    "vocab_size": 128256,
}
SCALED = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}
MISTRAL: dict[str, Any] = {
    "architectures": ["MistralForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "model_type": "mistral",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "sliding_window": 4096,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.34.0.dev0",
    "use_cache": True,
    "vocab_size": 32000,
}
QWEN2: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "hidden_act": "silu",
    "hidden_size": 896,
    "initializer_range": 0.02,
    "intermediate_size": 4864,
    "max_position_embeddings": 32768,
    "max_window_layers": 21,
    "model_type": "qwen2",
    "num_attention_heads": 14,
    "num_hidden_layers": 24,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.43.1",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
QWEN3: dict[str, Any] = {
    **QWEN2,
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "head_dim": 128,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "max_position_embeddings": 40960,
    "max_window_layers": 28,
    "model_type": "qwen3",
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "rope_scaling": None,
    "sliding_window": None,
    "transformers_version": "4.51.0",
}
BLOOM: dict[str, Any] = {
    "apply_residual_connection_post_layernorm": False,
    "architectures": ["BloomForCausalLM"],
    "attention_dropout": 0.0,
    "attention_softmax_in_fp32": True,
    "bias_dropout_fusion": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_dropout": 0.0,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05,
    "masked_softmax_fusion": True,
    "model_type": "bloom",
    "n_embed": 1024,
    "n_inner": None,
    "n_layer": 24,
    "num_attention_heads": 16,
    "offset_alibi": 100,
    "pad_token_id": 3,
    "pretraining_tp": 1,
    "seq_length": 2048,
    "skip_bias_add": True,
    "skip_bias_add_qkv": False,
    "slow_but_exact": False,
    "transformers_version": "4.20.0",
    "unk_token_id": 0,
    "use_cache": True,
    "vocab_size": 250880,
}
PYTHIA: dict[str, Any] = {
    "architectures": ["GPTNeoXForCausalLM"],
    "bos_token_id": 0,
    "eos_token_id": 0,
    "hidden_act": "gelu",
    "hidden_size": 2048,
    "initializer_range": 0.02,
    "intermediate_size": 8192,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 2048,
    "model_type": "gpt_neox",
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "rotary_emb_base": 10000,
    "rotary_pct": 0.25,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "transformers_version": "4.24.0",
    "use_cache": True,
    "use_parallel_residual": True,
    "vocab_size": 50304,
}
GEMMA: dict[str, Any] = {
    "architectures": ["GemmaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "head_dim": 256,
    "hidden_act": "gelu",
    "hidden_size": 2048,
    "initializer_range": 0.02,
    "intermediate_size": 16384,
    "max_position_embeddings": 8192,
    "model_type": "gemma",
    "num_attention_heads": 8,
    "num_hidden_layers": 18,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.38.0.dev0",
    "use_cache": True,
    "vocab_size": 256000,
}
PUBLISHED: dict[str, dict[str, Any]] = {
    "LLaMA 7B": {
        **LLAMA,
        "max_position_embeddings": 2048,
        "max_sequence_length": 2048,
        "pad_token_id": 0,
        "transformers_version": "4.28.0.dev0",
    },
    "LLaMA 7B, the first conversion": {
        **LLAMA,
        "architectures": ["LLaMAForCausalLM"],
        "bos_token_id": 0,
        "eos_token_id": 1,
        "max_position_embeddings": 2048,
        "max_sequence_length": 2048,
        "pad_token_id": -1,
        "transformers_version": "4.27.0.dev0",
    },
    "LLaMA 2 7B": {
        **LLAMA,
        "_name_or_path": "meta-llama/Llama-2-7b-hf",
        "max_position_embeddings": 4096,
        "num_key_value_heads": 32,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "transformers_version": "4.31.0.dev0",
    },
    "LLaMA 2 stretched by an old rope_scaling": {
        **LLAMA,
        "max_position_embeddings": 16384,
        "pretraining_tp": 2,
        "rope_scaling": {"factor": 4.0, "type": "linear"},
    },
    "LLaMA 3 8B": LLAMA_3,
    "LLaMA 3.1 8B Instruct": {
        **LLAMA_3,
        "eos_token_id": [128001, 128008, 128009],
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "rope_scaling": SCALED,
    },
    "LLaMA 3.2 1B": {
        **LLAMA_3,
        "head_dim": 64,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "num_hidden_layers": 16,
        "rope_scaling": {**SCALED, "factor": 32.0},
        "tie_word_embeddings": True,
        "transformers_version": "4.45.0.dev0",
    },
    "LLaMA 3.2 1B by Unsloth, saved by Transformers 5": {
        **{name: v for name, v in LLAMA_3.items() if name not in ("rope_theta", "torch_dtype")},
        "dtype": "bfloat16",
        "head_dim": 64,
        "max_position_embeddings": 131072,
        "pad_token_id": 128004,
        "rope_parameters": {**SCALED, "factor": 32.0, "rope_theta": 500000.0},
        "tie_word_embeddings": True,
        "transformers_version": "5.0.0",
        "unsloth_fixed": True,
        "unsloth_version": "2025.1",
    },
    "Mistral 7B v0.1": MISTRAL,
    "Mistral 7B v0.3": {
        **MISTRAL,
        "attention_dropout": 0.0,
        "rope_theta": 1000000.0,
        "sliding_window": None,
        "transformers_version": "4.42.0.dev0",
        "vocab_size": 32768,
    },
    "Qwen2.5 0.5B Instruct": QWEN2,
    "Qwen2.5 stretched by YaRN": {
        **QWEN2,
        "max_position_embeddings": 131072,
        "rope_scaling": {
            "factor": 4.0,
            "original_max_position_embeddings": 32768,
            "rope_type": "yarn",
            "type": "yarn",
        },
    },
    "Qwen3 0.6B": QWEN3,
    "BLOOM 560M": BLOOM,
    "BLOOMZ 7B1": {
        **{name: value for name, value in BLOOM.items() if name != "n_embed"},
        "hidden_size": 4096,
        "n_layer": 30,
        "num_attention_heads": 32,
        "pretraining_tp": 4,
    },
    "Pythia 1.4B": PYTHIA,
    "GPT-NeoX 20B": {
        **PYTHIA,
        "attention_probs_dropout_prob": 0,
        "hidden_act": "gelu_fast",
        "hidden_dropout_prob": 0,
        "transformers_version": "4.19.0.dev0",
        "vocab_size": 50432,
    },
    "Pythia, saved by Transformers 4.48": {
        **PYTHIA,
        "attention_bias": True,
        "attention_dropout": 0.0,
        "classifier_dropout": 0.1,
        "hidden_dropout": 0.0,
        "partial_rotary_factor": 0.25,
        "rope_scaling": None,
        "rope_theta": 10000,
    },
    "Gemma 2B": GEMMA,
    "Gemma 2B, corrected": {**GEMMA, "hidden_activation": "gelu_pytorch_tanh"},
}
NARROW = {
    "hidden_size": 48,
    "n_embed": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "n_layer": 2,
    "intermediate_size": 40,
    "head_dim": 8,
    "vocab_size": 64,
    "pad_token_id": 0,
    "sliding_window": 5,
}


def narrowed(config: dict[str, Any]) -> dict[str, Any]:
    """The same options, with few channels, layers and tokens."""
    return {
        name: NARROW[name] if name in NARROW and value not in (None, -1) else value
        for name, value in config.items()
    }


def written(folder: Path, config: dict[str, Any]) -> Path:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_config_says_what_it_says_to_transformers(name: str, tmp_path: Path):
    family, config, labels = read_config(written(tmp_path, PUBLISHED[name]))
    assert labels is None
    stock = AutoConfig.from_pretrained(tmp_path)
    assert type(stock) is family.config_class
    said, meant = config.to_dict(), stock.to_dict()
    without = {name for name, o in family.options.items() if o.treatment is WITHOUT_EFFECT}
    if PUBLISHED[name].get("pad_token_id") == -1:
        without.add("pad_token_id")
    for option in family.config_class().to_dict().keys() - without:
        assert said[option] == meant[option], option
    assert "rope_parameters" in said or family.model_type == "bloom"


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_config_gives_the_stock_models_bits(name: str, tmp_path: Path):
    torch.manual_seed(0)
    config = narrowed(PUBLISHED[name])
    stock = AutoModelForCausalLM.from_config(
        AutoConfig.from_pretrained(written(tmp_path, config)), dtype=torch.float32
    )
    stock.train(False).save_pretrained(tmp_path)
    written(tmp_path, config)
    ids = torch.randint(1, NARROW["vocab_size"], (2, 12))
    base = read_base_model(tmp_path, {})
    with torch.inference_mode():
        found = base.model(input_ids=ids).logits
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
        assert torch.equal(found, loaded(ids).logits)
        assert torch.equal(found, stock(ids).logits)


@pytest.mark.parametrize("name", ["llama-base", "llama-base-sparse50"])
def test_a_base_of_float16_gives_the_stock_models_bits(name: str, shared_data: Path):
    """The second was saved by Transformers 4.31, with a buffer of frequencies in each layer."""
    base = read_base_model(shared_data / name, {})
    stock = AutoModelForCausalLM.from_pretrained(shared_data / name, dtype=torch.float32)
    ids = torch.randint(3, 4096, (3, 40), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(base.model.float()(ids).logits, stock(ids).logits)


@pytest.mark.parametrize(
    ("name", "changed", "match"),
    [
        ("LLaMA 2 7B", {"quantization_config": {"quant_method": "gptq"}}, "quantised"),
        (
            "LLaMA 2 7B",
            {"rope_scaling": {"type": "dynamic", "factor": 2.0}},
            "dynamic are not read",
        ),
        ("LLaMA 2 7B", {"rope_scaling": {"type": "linear"}}, "need factor"),
        ("LLaMA 2 7B", {"rope_scaling": {"type": "yarn", "rope_type": "linear"}}, "rope_type says"),
        ("LLaMA 2 7B", {"rope_scaling": {"type": "linear", "twist": 1}}, "rope_scaling/twist"),
        ("LLaMA 2 7B", {"num_key_value_heads": 5}, "do not share"),
        ("LLaMA 2 7B", {"sliding_window": 512}, "sliding_window.*not known"),
        ("LLaMA 2 7B", {"num_attention_heads": 30}, "multiple of the number of attention heads"),
        ("Qwen2.5 0.5B Instruct", {"layer_types": ["full_attention"]}, "config.json.*layer_types"),
        ("BLOOM 560M", {"slow_but_exact": True}, "slow_but_exact"),
        ("BLOOM 560M", {"n_inner": 512}, "n_inner"),
        ("BLOOM 560M", {"hidden_size": 512}, "n_embed.*another name of hidden_size"),
        ("Pythia 1.4B", {"rope_theta": 500}, "another name of rotary_emb_base"),
        ("Gemma 2B", {"hidden_activation": "relu"}, "hidden_activation"),
        ("Gemma 2B", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
    ],
)
def test_what_is_not_honoured_is_refused_by_name(
    name: str, changed: dict[str, Any], match: str, tmp_path: Path
):
    with pytest.raises(InputError, match=match):
        read_config(written(tmp_path, {**PUBLISHED[name], **changed}))


def tiny(folder: Path, name: str) -> Path:
    """A narrow model of a published config, as Transformers saves it."""
    config = AutoConfig.from_pretrained(written(folder, narrowed(PUBLISHED[name])))
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    return folder


def test_buffers_that_old_programs_stored_are_left_out(tmp_path: Path):
    """Pythia's float16 files hold minus infinity where a token is masked."""
    file = tiny(tmp_path, "Pythia 1.4B") / "model.safetensors"
    buffers = {
        f"gpt_neox.layers.{layer}.attention.{name}": tensor
        for layer in range(2)
        for name, tensor in (
            ("bias", torch.ones(1, 1, 8, 8, dtype=torch.bool)),
            ("masked_bias", torch.tensor(-torch.inf, dtype=torch.float16)),
            ("rotary_emb.inv_freq", torch.ones(2)),
        )
    }
    save_file({**load_file(file), **buffers}, file, metadata={"format": "pt"})
    base = read_base_model(tmp_path, {})
    assert not any("masked_bias" in name for name in base.model.state_dict())


def test_a_head_that_is_tied_and_yet_another_is_refused(tmp_path: Path):
    file = tiny(tmp_path, "Qwen2.5 0.5B Instruct") / "model.safetensors"
    tensors = load_file(file)
    tied = tensors["model.embed_tokens.weight"]
    save_file({**tensors, "lm_head.weight": tied.clone()}, file, metadata={"format": "pt"})
    assert read_base_model(tmp_path, {}).model.lm_head.weight.shape == tied.shape
    with pytest.raises(InputError, match=r"adapter/lm_head\.weight.*the two differ"):
        read_base_model(tmp_path, {"lm_head.weight": tied + 1})
    with pytest.raises(InputError, match=r"adapter/model\.embed_tokens\.weight.*and not lm_head"):
        read_base_model(tmp_path, {"model.embed_tokens.weight": tied})


def test_an_adapter_on_a_tied_head_is_refused(tmp_path: Path):
    """PEFT would add it to the head alone."""
    write_checkpoint(tmp_path, FAMILIES["qwen2"], tie_word_embeddings=True)
    config = tmp_path / "adapter" / "adapter_config.json"
    said = json.loads(config.read_text())
    config.write_text(json.dumps(said | {"target_modules": [*said["target_modules"], "lm_head"]}))
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    branch = {
        "base_model.model.lm_head.lora_A.weight": torch.ones(RANK, HIDDEN),
        "base_model.model.lm_head.lora_B.weight": torch.ones(VOCABULARY, RANK),
    }
    save_file(load_file(file) | branch, file)
    with pytest.raises(InputError, match=r"adapter/lm_head.*that of the embeddings"):
        read_supernet(tmp_path)


def test_a_decoder_of_another_task_is_no_language_model(tmp_path: Path):
    config = narrowed(PUBLISHED["Qwen2.5 0.5B Instruct"])
    tiny(tmp_path, "Qwen2.5 0.5B Instruct")
    written(tmp_path, {**config, "architectures": ["Qwen2ForSequenceClassification"]})
    with pytest.raises(InputError, match=r"architectures.*another task"):
        read_base_model(tmp_path, {})


def test_a_window_bounds_what_may_share_a_sequence(tmp_path: Path):
    family, config, _ = read_config(written(tmp_path, MISTRAL))
    assert family.can_share_a_sequence(config, 4096)
    assert not family.can_share_a_sequence(config, 4097)
    family, config, _ = read_config(written(tmp_path, BLOOM))
    assert not family.can_share_a_sequence(config, 8)
    assert family.longest(config) > 100_000
    assert FAMILIES["bert"].takes_full_masks is False
