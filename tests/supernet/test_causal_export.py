"""Exported language models, loaded and continued by a process that cannot import our packages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import FFN, HEADS, RANK
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.contracts.checkpoints import write_checkpoint
from elasticnas.supernet.export.lazy_tensors import lazy
from elasticnas.supernet.export.safetensors_file import write_safetensors
from elasticnas.supernet.families.llama import LLAMA
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.plan import Join
from elasticnas.supernet.supernet import Supernet
from tests.supernet.published import published, references, subnet_of
from tests.supernet.stranger import Stranger
from tests.supernet.test_export import export, nonzero_in, told

NEW_TOKENS = 6
TEXTS = ["w5 w6 w7 w8 w9", "w10", "w11 w12 w20 w21 w22 w23 w19"]


@pytest.fixture(scope="module")
def stranger() -> Iterator[Stranger]:
    stranger = Stranger()
    yield stranger
    stranger.close()


def checkpoint(folder: Path, dtype: torch.dtype = torch.float32, sparsity: float = 0.0) -> Supernet:
    """A small LLaMA of grouped heads whose base says how many tokens it generates."""
    write_checkpoint(folder, LLAMA, max_position_embeddings=64)
    file = folder / "base" / "model.safetensors"
    torch.manual_seed(0)
    tensors = {
        name: (t * (torch.rand_like(t) >= sparsity) if "_proj" in name else t).to(dtype)
        for name, t in load_file(file).items()
    }
    save_file(tensors, file, metadata={"format": "pt"})
    how = {"max_new_tokens": NEW_TOKENS, "eos_token_id": 3, "pad_token_id": 0}
    (folder / "base" / "generation_config.json").write_text(json.dumps(how))
    (folder / "base" / "chat_template.jinja").write_text("{{ messages[0].content }}")
    return read_supernet(folder)


def of_parts(supernet: Supernet, **chosen: int) -> SubnetConfig:
    """The maximal subnet but for one choice for all dimensions of a part."""
    dimensions = supernet.space.dimensions
    return supernet.space.subnet({d.name: chosen[d.part] for d in dimensions if d.part in chosen})


def ranks(supernet: Supernet) -> SubnetConfig:
    """All that is cut are ranks, each layer's to another."""
    dimensions = [d for d in supernet.space.dimensions if d.part == RANK]
    return supernet.space.subnet({d.name: d.choices[i % 3] for i, d in enumerate(dimensions)})


def compare(
    found: dict,
    supernet: Supernet,
    subnet: SubnetConfig,
    texts: list[str],
    within: float = 1e-4,
    end: int = 3,
) -> None:
    """Logits of every token, and the very tokens that a subnet goes on with, up to ``end``."""
    tokenizer = load_tokenizer(supernet)
    active = activate(supernet.to(torch.device("cpu"), torch.float32), subnet)
    for text, logits, greedy in zip(texts, found["logits"], found["greedy"], strict=True):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            ours = active.logits({"input_ids": ids})[0]
            torch.testing.assert_close(torch.tensor(logits), ours, rtol=1e-4, atol=within)
            for _ in range(NEW_TOKENS):
                last = active.logits({"input_ids": ids})[:, -1].argmax(-1, keepdim=True)
                ids = torch.cat((ids, last), dim=1)
                if int(last) == end:
                    break
        assert greedy == ids[0].tolist()


def test_uneven_widths_and_skipped_blocks_generate_with_the_code_that_the_folder_carries(
    tmp_path: Path, stranger
):
    supernet = checkpoint(tmp_path / "c")
    subnet = supernet.space.subnet(
        {
            "heads of layer 1": 1,
            "ffn of layer 1": 7,
            "ffn of layer 2": 24,
            "rank of layer 2": 1,
            "left out": (0,),
        }
    )
    folder = export(supernet, subnet, "transformers", tmp_path)
    found = stranger.load(folder, "transformers-with-code", supernet, TEXTS)
    assert found["class"] == "SubnetLlamaForCausalLM"
    compare(found, supernet, subnet, TEXTS)


@pytest.mark.parametrize("cut", [{}, {"rank": 2}, {"ffn": 24, "heads": 1}])
def test_what_a_stock_config_can_say_is_a_stock_model(tmp_path: Path, stranger, cut):
    supernet = checkpoint(tmp_path / "c")
    subnet = of_parts(supernet, **cut)
    folder = export(supernet, subnet, "transformers", tmp_path)
    assert not list(folder.glob("*.py"))
    assert (folder / "chat_template.jinja").read_text() == "{{ messages[0].content }}"
    found = stranger.load(folder, "transformers", supernet, TEXTS)
    assert found["class"] == "LlamaForCausalLM"
    compare(found, supernet, subnet, TEXTS)


def with_scalings(supernet: Supernet) -> Supernet:
    """Adapters of two scalings, as an ``alpha_pattern`` gives them."""
    adapters = {
        module: replace(adapter, scaling=0.5) if "down" in module else adapter
        for module, adapter in supernet.adapters.items()
    }
    return replace(supernet, adapters=adapters)


@pytest.mark.parametrize("prepare", [lambda s: s, with_scalings], ids=["one", "two"])
def test_ranks_alone_are_a_stock_adapter_that_peft_and_vllm_read_alike(
    tmp_path: Path, stranger, prepare
):
    supernet = prepare(checkpoint(tmp_path / "c"))
    subnet = ranks(supernet)
    folder = export(supernet, subnet, "peft", tmp_path)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["target_modules"] == sorted(n.split(".")[-1] for n in LLAMA.linears.values())
    compare(stranger.load(folder, "peft", supernet, TEXTS), supernet, subnet, TEXTS)
    merged = as_vllm_reads(supernet.folder / "base", folder)
    ids = load_tokenizer(supernet)(TEXTS[0], return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        ours = activate(supernet, subnet).logits({"input_ids": ids})
        torch.testing.assert_close(merged(ids).logits, ours, rtol=1e-4, atol=1e-4)


def as_vllm_reads(base: Path, adapter: Path) -> PreTrainedModel:
    """``W + lora_alpha / r * B A`` for every module of the file, whatever the patterns say.

    vLLM's ``PEFTHelper`` reads r and lora_alpha (and use_rslora) of a config; ranks are those of
    the tensors, and may not be larger than r.
    """
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = json.loads((adapter / "adapter_config.json").read_text())
    tensors = load_file(adapter / "adapter_model.safetensors")
    for name, a in tensors.items():
        module, found, _ = name.removeprefix("base_model.model.").partition(".lora_A.")
        if found:
            b = tensors[name.replace(".lora_A.", ".lora_B.")]
            assert len(a) <= config["r"]
            weight = model.get_parameter(f"{module}.weight")
            weight.data += config["lora_alpha"] / config["r"] * (b @ a)
    return model


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_file_keeps_the_dtype_of_the_base_and_what_is_not_cut_to_the_bit(
    tmp_path: Path, stranger, dtype
):
    supernet = checkpoint(tmp_path / "c", dtype)
    subnet = ranks(supernet)
    folder = export(supernet, subnet, "transformers", tmp_path)
    base, file = (load_file(f / "model.safetensors") for f in (tmp_path / "c" / "base", folder))
    assert {tensor.dtype for tensor in file.values()} == {dtype}
    assert json.loads((folder / "config.json").read_text())["dtype"] == str(dtype).split(".")[1]
    for name, tensor in base.items():
        if "_proj" not in name:
            assert torch.equal(file[name], tensor)
    # Merged weights are rounded once: what is computed is what a super-network of them computes.
    adapters = {m: replace(a, scaling=0.0) for m, a in supernet.adapters.items()}
    rounded = replace(read_supernet(tmp_path / "c"), adapters=adapters)
    rounded.model.load_state_dict(file)
    found = stranger.load(folder, "transformers", supernet, TEXTS)
    compare(found, rounded, rounded.space.maximal, TEXTS)


def test_a_merge_that_float16_cannot_hold_is_refused(tmp_path: Path):
    """The adapter by itself can be handed out; the measured subnet never held the merged weight."""
    plain = checkpoint(tmp_path / "c", torch.float16)
    large = {m: replace(a, scaling=1e7) for m, a in plain.adapters.items()}
    supernet = replace(plain, adapters=large)
    with pytest.raises(InputError, match="with its adapter in it has numbers that float16 cannot"):
        export(supernet, ranks(supernet), "transformers", tmp_path)
    export(supernet, ranks(supernet), "peft", tmp_path)


def test_a_masked_merge_keeps_the_zeros_and_the_card_counts_those_of_the_file(
    tmp_path: Path, stranger
):
    plain = checkpoint(tmp_path / "c", sparsity=0.5)
    adapters = {m: replace(a, join=Join.MASKED) for m, a in plain.adapters.items()}
    masked = replace(plain, adapters=adapters)
    subnet = of_parts(masked, **{FFN: 24, HEADS: 1, RANK: 1})
    folder = export(masked, subnet, "transformers", tmp_path)
    file = load_file(folder / "model.safetensors")
    zeros = sum(int((t == 0).sum()) for name, t in file.items() if "_proj" in name)
    assert 0.45 < zeros / sum(t.numel() for name, t in file.items() if "_proj" in name) < 0.55
    assert told(folder) == nonzero_in(folder / "model.safetensors")
    compare(stranger.load(folder, "transformers", masked, TEXTS), masked, subnet, TEXTS)
    with pytest.raises(InputError, match="fill the zeros of the sparse base"):
        export(masked, ranks(masked), "peft", tmp_path)


def test_a_file_written_a_tensor_at_a_time_is_the_librarys_own(tmp_path: Path):
    tensors = {
        "b": torch.randn(3, 5).half(),
        "a": torch.randn(7).bfloat16(),
        "scalar": torch.tensor(2.0),
        "none": torch.empty(0, 4),
        "ids": torch.arange(9),
        "mask": torch.tensor([True, False]),
    }
    nonzero = write_safetensors({name: lazy(t) for name, t in tensors.items()}, tmp_path / "ours")
    save_file(tensors, tmp_path / "theirs", metadata={"format": "pt"})
    assert nonzero == sum(int((tensor != 0).sum()) for tensor in tensors.values())
    found = load_file(tmp_path / "ours")
    for name, tensor in load_file(tmp_path / "theirs").items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found.pop(name), tensor)
    assert not found
    assert (tmp_path / "ours").stat().st_size == (tmp_path / "theirs").stat().st_size


ROUNDED = 1e-2
"""How far logits may be from those of weights that were not rounded to float16 after the merge."""


def prompts(data: Path, count: int = 3) -> list[str]:
    rows = (data / "textkind" / "validation.jsonl").read_text().splitlines()[:count]
    return [f"Text: {json.loads(row)['sentence1']}\nKind:" for row in rows]


PUBLISHED = {
    "lonas-llama-textkind": ("transformers", "heuristic"),
    "lonas-llama-textkind, uneven": ("transformers-with-code", "r0"),
    "shears-llama-textkind": ("peft", "r0"),
    "shears-llama-textkind, merged": ("transformers", "r0"),
    "sqft-llama-textkind": ("peft", "r0"),
    "sqft-llama-sparsepeft-textkind": ("transformers", "r0"),
}


@pytest.mark.parametrize("case", PUBLISHED)
def test_published_super_adapters_are_handed_out(
    shared_data: Path, tmp_path: Path, stranger, case: str
):
    """Adapters beside their base compute what we do; a merged file but for one rounding."""
    name = case.partition(",")[0]
    (tmp_path / "c").mkdir()
    supernet = published(shared_data, name, tmp_path / "c")
    way, named = PUBLISHED[case]
    entry = next(each for each in references(shared_data, name) if each["name"] == named)
    subnet = subnet_of(supernet, entry)
    folder = export(supernet, subnet, way.removesuffix("-with-code"), tmp_path)
    assert bool(list(folder.glob("*.py"))) is (way == "transformers-with-code")
    texts = prompts(shared_data)
    found = stranger.load(folder, way, supernet, texts, NEW_TOKENS)
    compare(found, supernet, subnet, texts, 1e-4 if way == "peft" else ROUNDED, end=2)
    if way == "peft":
        merged = as_vllm_reads(supernet.folder / "base", folder)
        ids = load_tokenizer(supernet)(texts[0], return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            read = merged(ids).logits[0]
        torch.testing.assert_close(read, torch.tensor(found["logits"][0]), rtol=1e-4, atol=1e-4)
    if "merged_sparsity" in entry:
        file = load_file(folder / "model.safetensors")
        weights = [tensor for key, tensor in file.items() if "_proj" in key]
        zeros = sum(int((weight == 0).sum()) for weight in weights)
        assert zeros / sum(weight.numel() for weight in weights) == entry["merged_sparsity"]
        with pytest.raises(InputError, match="fill the zeros"):
            export(supernet, subnet, "peft", tmp_path)
