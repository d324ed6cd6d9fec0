"""LoNAS, Shears and SQFT on causal language models: what is read, and what is said of the rest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.contracts.checkpoints import FFN, LAYERS, RANK
from elasticnas.supernet.families.family import Role
from elasticnas.supernet.forward.activation import active_tensors
from elasticnas.supernet.plan import Join
from elasticnas.supernet.supernet import Supernet
from tests.supernet import causal
from tests.supernet.causal import ATTENTION, OWN, RANKS, A, B, nncf, node, template


def names(supernet: Supernet) -> list[str]:
    return [dimension.name for dimension in supernet.space.dimensions]


def cut_by(supernet: Supernet, dimension: str) -> set[tuple[str, int]]:
    prefix = f"{supernet.family.layers}.1."
    cuts = {(c.tensor, c.axis) for c in supernet.plan.cuts if c.dimension == dimension}
    assert all(tensor.startswith(prefix) for tensor, _ in cuts)
    return {(tensor.removeprefix(prefix), axis) for tensor, axis in cuts}


def test_the_groups_of_lonas_on_llama_cut_what_the_method_cuts(tmp_path: Path):
    supernet = read_supernet(causal.lonas(tmp_path))
    assert supernet.method == "lonas"
    assert supernet.reference_length == 32
    assert names(supernet)[1::LAYERS] == [
        "layer.1.query+key+value.lora.rank",
        "layer.1.ffn.width",
        "layer.1.ffn_in+ffn_gate.lora.rank",
    ]
    assert cut_by(supernet, "layer.1.query+key+value.lora.rank") == {
        (f"self_attn.{letter}_proj.{half}", axis)
        for letter in "qkv"
        for half, axis in (("lora_A", 0), ("lora_B", 1))
    }
    assert cut_by(supernet, "layer.1.ffn.width") == {
        *((f"mlp.{first}_proj.{tensor}", 0)
          for first in ("gate", "up") for tensor in ("weight", "lora_B")),
        ("mlp.down_proj.weight", 1),
        ("mlp.down_proj.lora_A", 1),
    }  # fmt: skip
    assert cut_by(supernet, "layer.1.ffn_in+ffn_gate.lora.rank") == {
        (f"mlp.{first}_proj.{half}", axis)
        for first in ("gate", "up")
        for half, axis in (("lora_A", 0), ("lora_B", 1))
    }


def test_the_groups_of_lonas_on_bloom_cut_the_fused_layer_and_no_gate(tmp_path: Path):
    supernet = read_supernet(causal.lonas(tmp_path, "bloom"))
    assert names(supernet)[1::LAYERS] == [
        "layer.1.qkv.lora.rank",
        "layer.1.ffn.width",
        "layer.1.ffn_in.lora.rank",
    ]
    assert cut_by(supernet, "layer.1.qkv.lora.rank") == {
        ("self_attention.query_key_value.lora_A", 0),
        ("self_attention.query_key_value.lora_B", 1),
    }
    assert cut_by(supernet, "layer.1.ffn.width") == {
        *((f"mlp.dense_h_to_4h.{tensor}", 0) for tensor in ("weight", "bias", "lora_B")),
        ("mlp.dense_4h_to_h.weight", 1),
        ("mlp.dense_4h_to_h.lora_A", 1),
    }


def test_a_template_of_shears_is_a_group_in_every_layer_in_shears_order(tmp_path: Path):
    supernet = read_supernet(causal.shears(tmp_path))
    assert supernet.method == "shears"
    assert names(supernet) == [
        f"layer.{layer}.{roles}.lora.rank"
        for roles in ("query+key+value", "ffn_in", "ffn_out")
        for layer in range(LAYERS)
    ]
    assert {d.choices for d in supernet.space.dimensions} == {(4, 2, 1)}
    assert not any("gate_proj" in cut.tensor for cut in supernet.plan.cuts)


def test_gate_shares_the_rank_of_up_where_the_template_says_so(tmp_path: Path):
    groups = (ATTENTION, (Role.FFN_IN, Role.FFN_GATE), (Role.FFN_OUT,))
    supernet = read_supernet(causal.shears(tmp_path, groups))
    assert names(supernet)[LAYERS] == "layer.0.ffn_in+ffn_gate.lora.rank"
    assert any("gate_proj.lora_A" in cut.tensor for cut in supernet.plan.cuts)


def test_a_template_may_have_comments_and_stand_beside_groups_that_are_written_out(tmp_path: Path):
    content = template((ATTENTION,))
    width = content["bootstrapNAS"]["training"]["elasticity"]["width"]
    width["overwrite_groups"].append([node(2, Role.FFN_OUT, A)])
    width["overwrite_groups_widths"].append([1, RANK])
    text = "/* of training */\n" + json.dumps(content, indent=1)[:-1].rstrip() + ",\n}"
    folder = causal.with_json(causal.causal(tmp_path), "nncf_config.json", text)
    supernet = read_supernet(folder)
    assert supernet.method == "shears"
    assert names(supernet)[LAYERS:] == ["layer.2.ffn_out.lora.rank"]
    assert supernet.space.dimensions[-1].choices == (RANK, 1)


@pytest.mark.parametrize("place", ["adapter/", ""])
@pytest.mark.parametrize("shared", [True, False])
def test_sqft_is_read_from_where_it_writes_its_file_or_from_the_top(tmp_path: Path, place, shared):
    folder = causal.sqft(tmp_path, shared=shared)
    file = "elastic_adapter_config.json"
    (folder / "adapter" / file).rename(folder / f"{place}{file}")
    supernet = read_supernet(folder)
    roles = ["query", "key", "value", "ffn_in", "ffn_out"]
    groups = ["+".join(roles)] if shared else roles
    assert supernet.method == "sqft"
    assert names(supernet) == [
        f"layer.{layer}.{group}.lora.rank" for layer in range(LAYERS) for group in groups
    ]
    assert {a.join for a in supernet.adapters.values()} == {Join.PLAIN}


def test_adapters_that_sqft_does_not_list_stay_whole_and_ranks_are_sorted(tmp_path: Path):
    group = {"target": causal.targets(1, [Role.VALUE]), "search_space": [2, RANK, 1]}
    folder = causal.with_json(
        causal.causal(tmp_path), "adapter/elastic_adapter_config.json", [group]
    )
    supernet = read_supernet(folder)
    [dimension] = supernet.space.dimensions
    assert dimension.choices == (RANK, 2, 1)
    cut = {cut.tensor for cut in supernet.plan.cuts}
    assert cut == {f"model.layers.1.self_attn.v_proj.{half}" for half in ("lora_A", "lora_B")}
    assert len(supernet.adapters) == LAYERS * len(supernet.family.linears)


@pytest.mark.parametrize("own_space", [True, False], ids=["search_space.json", "sqft"])
def test_sparse_adapters_are_merged_where_the_base_is_not_zero(tmp_path: Path, own_space):
    folder = causal.sqft(tmp_path, masked=True)
    if own_space:
        (folder / "adapter" / "elastic_adapter_config.json").unlink()
        space = {"dimensions": [{"name": "layer.0.lora.rank", "kind": "rank", "choices": RANKS}]}
        causal.with_json(folder, "search_space.json", space)
    supernet = read_supernet(folder)
    for subnet in (supernet.space.maximal, supernet.space.minimal):
        for name, tensor in active_tensors(supernet, subnet).items():
            base = supernet.tensors[name]
            assert torch.equal(tensor == 0, base == 0)
            assert not torch.equal(tensor, base)


def only_ranks(section: str = "bootstrapNAS") -> dict[str, Any]:
    return nncf([[node(0, role, A) for role in ATTENTION]], [RANKS], section)


@pytest.mark.parametrize(
    ("content", "options", "method"),
    [
        (only_ranks("SQFT"), {}, "sqft"),
        (only_ranks(), {"sparse_adapter": False, "quantization_aware": False}, "sqft"),
        (only_ranks(), {}, "shears"),
        (nncf([[node(0, r, p) for r in (Role.FFN_IN, Role.FFN_GATE) for p in (OWN, B)]],
              [[FFN, 7]]), {"sparse_adapter": False}, "lonas"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["nncf_config.json", "adapter/nncf_config.json"])
def test_the_method_of_an_nncf_config_is_told_by_its_content(
    tmp_path: Path, content, options, method, place
):
    folder = causal.with_adapter_options(causal.causal(tmp_path), options)
    supernet = read_supernet(causal.with_json(folder, place, content))
    assert supernet.method == method
    assert len(names(supernet)) == 1


def test_the_classes_of_a_later_transformers_are_the_same_nodes(tmp_path: Path):
    text = json.dumps(only_ranks("SQFT"))
    later = text.replace("LlamaAttention", "LlamaSdpaAttention").replace("/Linear[", "/SQFTLinear[")
    folder = causal.with_json(causal.causal(tmp_path), "nncf_config.json", later)
    assert names(read_supernet(folder)) == ["layer.0.query+key+value.lora.rank"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("search_space.json", r"search_space\.json \(elasticnas\).*elastic.*\(sqft\)"),
        ("nncf_config.json", r"adapter/elastic.*\(sqft\), nncf_config\.json \(sqft\)"),
        ("elastic_adapter_config.json", "adapter/elastic.*, elastic"),
    ],
)
def test_several_files_that_say_what_is_elastic_are_named_and_refused(
    tmp_path: Path, more, message
):
    folder = causal.with_json(causal.sqft(tmp_path), more, only_ranks())
    with pytest.raises(InputError, match=f"several files say.*{message}"):
        read_supernet(folder)


@pytest.mark.parametrize("write", [causal.shears, causal.sqft], ids=["shears", "sqft"])
def test_an_extracted_adapter_is_the_subnet_that_it_was_cut_from(tmp_path: Path, write):
    """All adapters are cut to rank 2; the config still says 4, and the scaling with it."""
    folder = write(tmp_path / "c")
    whole = read_supernet(folder)
    cut = read_supernet(causal.extracted(folder, 2))
    assert {d.choices for d in cut.space.dimensions} == {(2, 1)}
    assert {a.scaling for a in cut.adapters.values()} == {2.0}
    listed = {c.tensor.rpartition(".")[0] for c in whole.plan.cuts}
    for chosen in (2, 1):
        subnet = dict.fromkeys(names(whole), chosen)
        expected = active_tensors(whole, whole.space.subnet(subnet))
        found = active_tensors(cut, cut.space.subnet(subnet))
        for module in listed:
            torch.testing.assert_close(found[f"{module}.weight"], expected[f"{module}.weight"])


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ([RANK, 3], "cut to rank 2, below every choice"),
        ([RANK, 1], "largest choice keeps 1 of the 2"),
    ],
)
def test_an_extracted_adapter_whose_rank_is_in_no_list_is_refused(tmp_path, choices, message):
    group = {"target": causal.targets(0, ATTENTION), "search_space": choices}
    folder = causal.extracted(causal.causal(tmp_path), 2)
    causal.with_json(folder, "elastic_adapter_config.json", [group])
    with pytest.raises(InputError, match=message):
        read_supernet(folder)


def test_an_adapter_of_a_larger_rank_than_its_config_says_is_refused(tmp_path: Path):
    folder = causal.with_adapter_options(causal.shears(tmp_path), {"r": 2})
    with pytest.raises(InputError, match=r"\(4, \d+\).*rank 2 of adapter_config"):
        read_supernet(folder)


def test_a_config_of_another_super_network_is_not_taken_for_an_extracted_ones(tmp_path: Path):
    """The adapter is whole: choices above its rank are an error, not left out."""
    folder = causal.with_json(causal.causal(tmp_path), "nncf_config.json", template())
    text = (folder / "nncf_config.json").read_text().replace(str(RANKS), "[32, 4, 2]")
    (folder / "nncf_config.json").write_text(text)
    with pytest.raises(InputError, match="needs 32 channels, more than the 4"):
        read_supernet(folder)


def test_a_whole_model_in_place_of_an_adapter_is_refused_by_name(tmp_path: Path):
    folder = causal.shears(tmp_path)
    adapter = folder / "adapter" / "adapter_model.safetensors"
    adapter.unlink()
    torch.save({"nncf_module.x": torch.zeros(1)}, folder / "adapter" / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"adapter/pytorch_model\.bin.*whole model.*NNCF"):
        read_supernet(folder)


def test_quantised_sqft_is_refused(tmp_path: Path):
    folder = causal.with_adapter_options(causal.sqft(tmp_path), {"quantization_aware": True})
    with pytest.raises(InputError, match=r"quantization_aware.*SQFT quantises"):
        read_supernet(folder)
    causal.with_adapter_options(folder, {"quantization_aware": False})
    file = folder / "base" / "config.json"
    gptq = {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    file.write_text(json.dumps(json.loads(file.read_text()) | gptq))
    with pytest.raises(InputError, match=r"quantization_config.*quantised weights are not read"):
        read_supernet(folder)


def elastic(*groups: object) -> tuple[str, object]:
    return "elastic_adapter_config.json", list(groups)


QUERY = causal.targets(0, [Role.QUERY])


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (*elastic(), "at least 1 item"),
        ("elastic_adapter_config.json", {"target": QUERY}, "valid list"),
        (*elastic({"target": QUERY, "active_rank_value": 2}), "0/search_space"),
        (*elastic({"target": QUERY, "search_space": [4, 2], "x": 1}), "0/x"),
        (*elastic({"target": [], "search_space": [4]}), "0/target"),
        (*elastic({"target": ["nose"], "search_space": [4]}), "no adapter with this lora_A.*nose"),
        (*elastic({"target": QUERY, "search_space": [4, 4]}), "different positive integers"),
        (*elastic({"target": QUERY, "search_space": [4, 0]}), "different positive integers"),
        (
            *elastic(*[{"target": QUERY, "search_space": [4, n]} for n in (2, 1)]),
            "layer.0.query.lora.rank",
        ),
        (
            "nncf_config.json",
            nncf([["{re}" + node(0, Role.QUERY, A)]], [RANKS]),
            r"begin with \{re\} and have \{\*\}",
        ),
        (
            "nncf_config.json",
            nncf([["{re}" + node("{*}", Role.QUERY, A), node(0, Role.KEY, A)]], [RANKS]),
            r"begin with \{re\}",
        ),
        ("nncf_config.json", nncf([[node("{*}", Role.QUERY, A)]], [RANKS]), "not an NNCF node"),
        ("nncf_config.json", nncf([[node(0, Role.QUERY, A)]], [[-1]]), "different positive"),
        ("nncf_config.json", nncf([[node(0, Role.QUERY, A)]], [[2**31, 4]]), "different positive"),
        ("nncf_config.json", nncf([], []), "no group"),
        (
            "nncf_config.json",
            nncf([[node(0, role, part) for role in ATTENTION for part in (OWN, B)]], [[24, 12]]),
            "share key-value heads",
        ),
        (
            "nncf_config.json",
            nncf([[node(0, Role.FFN_IN, OWN), node(0, Role.FFN_IN, B)]], [[FFN, 7]]),
            "first FFN layer with its gate",
        ),
        (
            "nncf_config.json",
            nncf([[node(0, Role.FFN_IN, OWN), node(0, Role.FFN_GATE, OWN)]], [[FFN, 7]]),
            r"leaves out.*gate_proj\.lora_B, .*up_proj\.lora_B",
        ),
    ],
)
def test_a_space_at_fault_is_named(tmp_path: Path, plain: Path, file, content, message):
    folder = tmp_path / "c"
    shutil.copytree(plain, folder)
    causal.with_json(folder, file, content)
    with pytest.raises(InputError, match=rf"({file}|dimensions).*{message}"):
        read_supernet(folder)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that says nothing of what is elastic."""
    return causal.causal(tmp_path_factory.mktemp("plain"))
