"""Every family that comes with ElasticNAS keeps the contract."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from safetensors.torch import load_file

from elasticnas.supernet.checkpoint.model_config import read_config
from elasticnas.supernet.contracts.families import FamilyContract, exported
from elasticnas.supernet.families.bert import BERT
from elasticnas.supernet.families.bloom import BLOOM
from elasticnas.supernet.families.distilbert import DISTILBERT
from elasticnas.supernet.families.gemma import GEMMA
from elasticnas.supernet.families.gpt_neox import GPT_NEOX
from elasticnas.supernet.families.llama import LLAMA
from elasticnas.supernet.families.mistral import MISTRAL
from elasticnas.supernet.families.qwen2 import QWEN2
from elasticnas.supernet.families.qwen3 import QWEN3
from elasticnas.supernet.families.roberta import ROBERTA


class TestBert(FamilyContract):
    family = BERT


class TestRoberta(FamilyContract):
    family = ROBERTA


class TestDistilBert(FamilyContract):
    family = DISTILBERT


class TestLlama(FamilyContract):
    family = LLAMA


class TestLlamaWithEveryOption(FamilyContract):
    """Three of five heads are no stock model: LLaMA's config takes none that do not divide 40."""

    family = LLAMA
    options = {  # noqa: RUF012
        "tie_word_embeddings": True,
        "attention_bias": True,
        "mlp_bias": True,
        "rope_parameters": {"rope_type": "linear", "rope_theta": 500.0, "factor": 2.0},
        "num_attention_heads": 5,
        "num_key_value_heads": 5,
        "hidden_size": 40,
    }

    def test_transformers_4_finds_the_rotation_under_its_own_names(self) -> None:
        """Where it does not, it turns by the default frequencies, and says nothing."""
        with self.supernet() as supernet, tempfile.TemporaryDirectory() as written:
            folder = exported(supernet, supernet.space.maximal, Path(written) / "maximal")
            said = json.loads((folder / "config.json").read_text())
            assert said["rope_theta"] == 500.0
            assert said["rope_scaling"] == {"rope_type": "linear", "factor": 2.0}
            _, config, _ = read_config(folder)
            assert config.rope_parameters == supernet.config.rope_parameters


class TestMistral(FamilyContract):
    family = MISTRAL
    options = {"sliding_window": 6}  # noqa: RUF012  # shorter than the contract's rows


class TestQwen2(FamilyContract):
    """Its config says no head size, as published ones do not."""

    family = QWEN2
    options = {"tie_word_embeddings": True, "head_dim": None, "hidden_size": 32}  # noqa: RUF012

    def test_fewer_heads_are_a_stock_model_all_the_same(self) -> None:
        with self.supernet() as supernet, tempfile.TemporaryDirectory() as written:
            chosen = dict(supernet.space.minimal) | {"left out": ()}
            folder = exported(supernet, supernet.space.subnet(chosen), Path(written) / "minimal")
            assert not list(folder.glob("*.py"))
            assert json.loads((folder / "config.json").read_text())["head_dim"] == 8


class TestQwen3(FamilyContract):
    """With a window in its last layer."""

    family = QWEN3
    options = {  # noqa: RUF012
        "use_sliding_window": True,
        "sliding_window": 4,
        "max_window_layers": 2,
    }


class TestGemma(FamilyContract):
    family = GEMMA


class TestGptNeoX(FamilyContract):
    family = GPT_NEOX
    side_by_side = True

    def test_a_stock_folder_has_the_names_that_every_transformers_reads(self) -> None:
        with self.supernet() as supernet, tempfile.TemporaryDirectory() as written:
            folder = exported(supernet, supernet.space.maximal, Path(written) / "maximal")
            names = load_file(folder / "model.safetensors")
            assert "embed_out.weight" in names
            assert "lm_head.weight" not in names
            said = json.loads((folder / "config.json").read_text())
            assert (said["rotary_emb_base"], said["rotary_pct"]) == (10_000.0, 0.25)


@pytest.mark.slow
class TestGptNeoXWithOneBehindTheOther(FamilyContract):
    family = GPT_NEOX
    options = {  # noqa: RUF012
        "use_parallel_residual": False,
        "attention_bias": False,
        "tie_word_embeddings": True,
    }


class TestBloom(FamilyContract):
    family = BLOOM
