"""Checkpoints that are read, and what is said of those that cannot be."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from elasticnas.api_schemas.messages import SupernetInspected
from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.report import report
from tests.supernet.test_activation import FAMILY_NAMES, tokenized
from tests.supernet.tiny import LAYERS, tiny_model, write_checkpoint

BERT_LAYER = (
    "PeftModelForSequenceClassification/LoraModel[base_model]/BertForSequenceClassification[model]/"
    "BertModel[bert]/BertEncoder[encoder]/ModuleList[layer]/BertLayer[{layer}]/"
)
SELF = BERT_LAYER + "BertAttention[attention]/BertSelfAttention[self]/"


def nncf_config() -> dict[str, Any]:
    """An NNCF config for the tiny BERT, as LoNAS writes one."""
    heads, ranks, ffn, dynamic = [], [], [], []
    for layer in range(LAYERS):
        prefix = SELF.format(layer=layer)
        heads.append(
            [f"{prefix}NNCFLinear[key]/linear_0"]
            + [
                f"{prefix}Linear[{role}]/{node}/linear_0"
                for role in ("query", "value")
                for node in (
                    "NNCFUserSelfLinear[self_linear]",
                    "ModuleDict[lora_B]/NNCFLinear[default]",
                )
            ]
        )
        ranks.append(
            [
                f"{prefix}Linear[{role}]/ModuleDict[lora_A]/NNCFLinear[default]/linear_0"
                for role in ("query", "value")
            ]
        )
        layer_prefix = BERT_LAYER.format(layer=layer)
        ffn.append([f"{layer_prefix}BertIntermediate[intermediate]/NNCFLinear[dense]/linear_0"])
        dynamic.append(
            f"{layer_prefix}BertAttention[attention]/BertSelfOutput[output]/"
            "NNCFLinear[dense]/linear_0"
        )
    width = {
        "overwrite_groups": [*heads, *ranks, *ffn],
        "overwrite_groups_widths": [[24, 12]] * 3 + [[1, 4]] * 3 + [[40, 24, 8]] * 3,
        "add_dynamic_inputs": dynamic,
    }
    elasticity = {"available_elasticity_dims": ["width"], "width": width}
    return {
        "input_info": [{"sample_size": [1, 32], "type": "long", "keyword": "input_ids"}],
        "bootstrapNAS": {"training": {"elasticity": elasticity}},
    }


def write_lonas(folder: Path, config: dict[str, Any] | str | None = None) -> Path:
    write_checkpoint(folder)
    (folder / "search_space.json").unlink()
    content = nncf_config() if config is None else config
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "nncf_config.json").write_text(text)
    return folder


def width_section(config: dict[str, Any]) -> dict[str, Any]:
    return config["bootstrapNAS"]["training"]["elasticity"]["width"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("model_type", FAMILY_NAMES)
@pytest.mark.parametrize("labels", [1, 2, 5])
def test_reads_every_architecture_for_classification_and_regression(
    tmp_path: Path, model_type, labels
):
    found = report(read_supernet(write_checkpoint(tmp_path, model_type, labels=labels)))
    assert found.method == "elasticnas"
    assert found.model_type == model_type
    assert found.num_labels == labels
    assert found.reference_length == (128 if found.max_positions >= 128 else found.max_positions)


def test_the_maximal_subnet_is_the_model_that_was_stored(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path, adapted=()))
    inputs = tokenized(supernet)
    with torch.inference_mode():
        expected = tiny_model("bert")(**inputs).logits
        found = activate(supernet, supernet.space.maximal).logits(inputs)
    torch.testing.assert_close(found, expected)


def test_dimension_i_of_a_lonas_space_is_group_i(tmp_path: Path):
    supernet = read_supernet(write_lonas(tmp_path))
    assert supernet.method == "lonas"
    assert supernet.reference_length == 32
    names = [dimension.name for dimension in supernet.space.dimensions]
    assert names == (
        [f"layer.{i}.attention.heads" for i in range(3)]
        + [f"layer.{i}.lora.rank" for i in range(3)]
        + [f"layer.{i}.ffn.width" for i in range(3)]
    )
    assert supernet.space.dimensions[0].choices == (4, 2)
    assert supernet.space.dimensions[3].choices == (4, 1)  # sorted, as NNCF does


def test_comments_and_trailing_commas_are_legal_in_an_nncf_config(tmp_path: Path):
    text = json.dumps(nncf_config(), indent=1)
    text = "// released config\n" + text[:-1].rstrip() + ",\n}"
    assert read_supernet(write_lonas(tmp_path, text)).space.size == 2**6 * 3**3


def test_a_bare_encoder_gets_its_head_from_the_adapter(tmp_path: Path):
    folder = write_checkpoint(tmp_path)
    file = folder / "base" / "model.safetensors"
    tensors = {
        name.removeprefix("bert."): tensor
        for name, tensor in load_file(file).items()
        if name.startswith("bert.")
    }
    full = read_supernet(folder).tensors
    save_file(tensors, file)
    bare = read_supernet(folder)
    assert bare.num_labels == 2
    assert all(torch.equal(full[name], tensor) for name, tensor in bare.tensors.items())


def test_a_pickled_adapter_is_read_as_the_originals_write_it(tmp_path: Path):
    folder = write_checkpoint(tmp_path)
    file = folder / "adapter" / "adapter_model.safetensors"
    expected = read_supernet(folder).tensors
    torch.save(load_file(file), folder / "adapter" / "adapter_model.bin")
    file.unlink()
    found = read_supernet(folder).tensors
    assert all(torch.equal(expected[name], tensor) for name, tensor in found.items())


@dataclass
class Payload:
    """A pickle that would touch a file when it is loaded."""

    target: Path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Path]]:
        return (Path.touch, (self.target,))


def test_a_pickle_that_holds_code_is_refused_and_never_run(tmp_path: Path):
    folder = write_checkpoint(tmp_path)
    (folder / "adapter" / "adapter_model.safetensors").unlink()
    target = tmp_path / "ran"
    with (folder / "adapter" / "adapter_model.bin").open("wb") as file:
        pickle.dump({"weight": Payload(target)}, file, protocol=2)
    with pytest.raises(InputError, match=r"adapter_model\.bin"):
        read_supernet(folder)
    assert not target.exists()


def edit_tensors(file: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


def edit_json(file: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


BASE, ADAPTER = "base/model.safetensors", "adapter/adapter_model.safetensors"
QUERY = "bert.encoder.layer.1.attention.self.query.weight"
HEAD = "base_model.model.classifier.weight"
LORA = "base_model.model.bert.encoder.layer.2.attention.self.value.lora_B.weight"


def poison(name: str, value: float) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda tensors: tensors[name].view(-1)[3:4].fill_(value)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (BASE, lambda t: t.pop(QUERY), rf"base/{QUERY}.*lacks"),
        (BASE, poison(QUERY, float("nan")), rf"base/{QUERY}.*NaN"),
        (BASE, lambda t: t.update({QUERY: torch.zeros(9, 24)}), r"\(9, 24\)"),
        (ADAPTER, lambda t: t.pop(LORA), rf"{LORA}.*lacks"),
        (ADAPTER, poison(LORA, float("inf")), rf"{LORA}.*infinite"),
        (ADAPTER, lambda t: t.update({LORA: torch.zeros(24, 3)}), "rank 4"),
        (ADAPTER, lambda t: t.update({"base_model.model.nose": torch.zeros(1)}), "nose"),
        (ADAPTER, lambda t: t.update({HEAD: torch.zeros(())}), "not a matrix"),
        (ADAPTER, lambda t: t.update({HEAD: torch.zeros(5, 24)}), "adapter/classifier.bias"),
    ],
    ids=["missing", "nan", "shape", "half-pair", "inf", "rank", "unknown-head", "scalar", "bias"],
)
def test_a_tensor_at_fault_is_named(tmp_path: Path, file, change, message):
    folder = write_checkpoint(tmp_path)
    edit_tensors(folder / file, change)
    with pytest.raises(InputError, match=message):
        read_supernet(folder)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("base/config.json", lambda c: c.update(model_type="gpt2"), "gpt2.*valid are bert"),
        ("base/config.json", lambda c: c.pop("hidden_size"), "hidden_size"),
        ("base/config.json", lambda c: c.update(num_attention_heads=5), "multiple"),
        ("base/config.json", lambda c: c.update(hidden_act="exec"), "hidden_act"),
        ("adapter/adapter_config.json", lambda c: c.update(use_dora=True), "use_dora"),
        ("adapter/adapter_config.json", lambda c: c.update(peft_type="IA3"), "peft_type"),
        ("search_space.json", lambda c: c["dimensions"].pop() and c.update(x=1), "x"),
        (
            "search_space.json",
            lambda c: c["dimensions"][0].update(choices=[5, 4]),
            r"layer\.0\.attention\.heads.*30 channels",
        ),
        (
            "search_space.json",
            lambda c: c["dimensions"][1].update(choices=[24, 7]),
            "full layer would be out of reach",
        ),
        (
            "search_space.json",
            lambda c: c["dimensions"][0].update(name="layer.7.attention.heads"),
            "3 layers",
        ),
        ("search_space.json", lambda c: c["dimensions"][0].update(name="nose"), "nose"),
        ("search_space.json", lambda c: c.update(reference_length=-5), "reference_length.*-5"),
        ("search_space.json", lambda c: c["dimensions"][0].update(kind="rank"), "kind heads"),
    ],
)
def test_a_config_at_fault_is_named(tmp_path: Path, file, change, message):
    folder = write_checkpoint(tmp_path)
    edit_json(folder / file, change)
    with pytest.raises(InputError, match=message):
        read_supernet(folder)


def replace_node(config: dict[str, Any]) -> None:
    group = width_section(config)["overwrite_groups"][0]
    group[0] = group[0].replace("BertLayer[0]", "BertLayer[9]")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace_node, r"overwrite_groups/0.*BertLayer\[9\]"),
        (lambda c: width_section(c)["overwrite_groups"][1].pop(0), "leaves out|must hold"),
        (lambda c: width_section(c)["overwrite_groups"][1].pop(2), "value of one layer|leaves out"),
        (lambda c: width_section(c)["overwrite_groups_widths"].pop(), "8 lists for 9 groups"),
        (
            lambda c: width_section(c)["overwrite_groups_widths"].__setitem__(0, [24, 13]),
            "multiple of the head size 6.*13",
        ),
        (
            lambda c: width_section(c)["overwrite_groups_widths"].__setitem__(8, [80, 40]),
            r"layer\.2\.ffn\.width.*more than the 40",
        ),
        (
            lambda c: width_section(c)["overwrite_groups_widths"].__setitem__(3, [4, 4]),
            "different positive integers",
        ),
        (lambda c: width_section(c)["add_dynamic_inputs"].append("nose"), "add_dynamic_inputs/3"),
        (lambda c: c.pop("bootstrapNAS"), "bootstrapNAS.*no such section"),
        (lambda c: width_section(c).update(overwrite_groups="all"), "overwrite_groups.*a list"),
        (lambda c: width_section(c)["overwrite_groups"].__setitem__(0, None), "groups/0.*a list"),
        (lambda c: width_section(c)["overwrite_groups"].__setitem__(0, []), "groups/0.*a list"),
        (lambda c: width_section(c).update(add_dynamic_inputs=5), "add_dynamic_inputs.*a list"),
        (
            lambda c: c["bootstrapNAS"]["training"]["elasticity"].update(
                available_elasticity_dims=["width", "kernel"]
            ),
            "only elastic width, or width and depth",
        ),
    ],
)
def test_an_nncf_config_at_fault_is_named(tmp_path: Path, change, message):
    config = nncf_config()
    change(config)
    with pytest.raises(InputError, match=message):
        read_supernet(write_lonas(tmp_path, config))


@pytest.mark.parametrize(
    "file", ["base/config.json", "adapter/adapter_config.json", "search_space.json"]
)
@pytest.mark.parametrize(
    "text", ["[]", "null", "{", "[" * 5000 + "]" * 5000, "\x00"], ids=lambda text: text[:4]
)
def test_a_json_file_that_holds_something_else_is_named(tmp_path: Path, file, text):
    folder = write_checkpoint(tmp_path)
    (folder / file).write_text(text)
    with pytest.raises(InputError, match=file):
        read_supernet(folder)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("base/config.json", "config.json"),
        ("base/model.safetensors", "neither model.safetensors nor pytorch_model.bin"),
        ("base/tokenizer.json", "tokenizer"),
        ("adapter/adapter_config.json", "adapter_config.json"),
        ("search_space.json", "no search space"),
    ],
)
def test_a_missing_file_is_named(tmp_path: Path, missing, message):
    folder = write_checkpoint(tmp_path)
    (folder / missing).unlink()
    with pytest.raises(InputError, match=message):
        read_supernet(folder)


@pytest.mark.parametrize(("model_type", "pad"), [("bert", 0), ("roberta", 1), ("distilbert", 0)])
def test_what_a_config_leaves_out_takes_the_architectures_default(tmp_path: Path, model_type, pad):
    folder = write_checkpoint(tmp_path, model_type)
    edit_json(folder / "base" / "config.json", lambda c: c.pop("pad_token_id"))
    assert read_supernet(folder).config.pad_token_id == pad


def test_code_named_in_a_config_is_dropped(tmp_path: Path):
    folder = write_checkpoint(tmp_path)
    edit_json(
        folder / "base" / "config.json",
        lambda c: c.update(
            auto_map={"AutoModel": "evil.Model"}, _attn_implementation_internal="evil/kernel"
        ),
    )
    config = read_supernet(folder).config
    assert not hasattr(config, "auto_map")
    assert "evil" not in str(config.to_dict())


HALF = "a\ud83d"
"""Half an emoji, as JSON can escape it."""


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("base/config.json", {"id2label": {"0": HALF, "1": "b"}}, "config.json/id2label/0.*half"),
        ("base/config.json", {HALF: 1}, "config.json.*half"),
        ("base/config.json", {"hidden_act": HALF}, "hidden_act.*half"),
        ("base/config.json", {"architectures": [["x", {"y": HALF}]]}, "architectures/y.*half"),
        ("base/config.json", {"id2label": {"0": "a\0", "1": "b"}}, "id2label/0.*NUL"),
        ("base/config.json", {"id2label": {"0": "a" * 1001, "1": "b"}}, "id2label/0.*1000"),
        ("base/config.json", {"hidden_act": "a\0" * 5000}, "hidden_act"),
        ("base/config.json", {"nose\0" * 5000: 1}, "not known"),
        ("adapter/adapter_config.json", {"base_model_name_or_path": HALF}, "path.*half"),
        ("adapter/adapter_config.json", {"base_model_name_or_path": "\0"}, "path.*NUL"),
        ("adapter/adapter_config.json", {"base_model_name_or_path": "a" * 1001}, "path.*1000"),
        ("base/tokenizer_config.json", {"unk_token": HALF}, "unk_token.*half"),
        ("search_space.json", {HALF: 1}, "search_space.json.*half"),
    ],
)
def test_what_no_answer_can_carry_is_refused_and_the_refusal_can_be_sent(
    tmp_path: Path, file, change, message
):
    folder = write_checkpoint(tmp_path)
    edit_json(folder / file, lambda content: content.update(change))
    with pytest.raises(InputError, match=message) as refused:
        read_supernet(folder)
    problem = refused.value.as_problem(title="Refused", kind="invalid-checkpoint")
    sent = SupernetInspected(supernet_id="n1", problem=problem).model_dump_json()
    assert "\\u0000" not in sent
    assert len(sent) < 6000
    assert SupernetInspected.model_validate_json(sent).problem == problem


@pytest.mark.parametrize(
    "place", ["base", "lora", "."], ids=["beside-the-base", "another-name", "top"]
)
def test_an_adapter_that_is_not_in_its_folder_is_refused(tmp_path: Path, place):
    folder = write_checkpoint(tmp_path)
    adapter = folder / "adapter"
    (folder / place).mkdir(exist_ok=True)
    for file in adapter.iterdir():
        file.rename(folder / place / file.name)
    adapter.rmdir()
    with pytest.raises(InputError, match=r"adapter_config\.json.*put it into adapter/"):
        read_supernet(folder)


def test_an_adapter_in_the_base_is_refused_beside_another_but_a_checkpoint_of_training_is_not(
    tmp_path: Path,
):
    folder = write_checkpoint(tmp_path)
    shutil.copytree(folder / "adapter", folder / "checkpoint-10")
    read_supernet(folder)
    shutil.copy(folder / "adapter" / "adapter_config.json", folder / "base")
    with pytest.raises(InputError, match=r"base/adapter_config\.json"):
        read_supernet(folder)


@pytest.mark.parametrize(
    "file",
    [
        "base/model.safetensors",
        "adapter/adapter_model.safetensors",
        "adapter/adapter_model.bin",
        "base/tokenizer.json",
        "base/config.json",
        "base/vocab.txt",
    ],
)
def test_a_pointer_of_git_lfs_is_called_that(tmp_path: Path, file):
    folder = write_checkpoint(tmp_path)
    if file.endswith(".bin"):
        (folder / file).with_suffix(".safetensors").unlink()
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
    (folder / file).write_text(pointer)
    with pytest.raises(InputError, match=f"{file}.*Git LFS.*git lfs pull"):
        read_supernet(folder)


@pytest.mark.parametrize("part", ["a" * 5000, "../model.safetensors", "nowhere", "a\0"])
def test_a_shard_that_is_not_in_the_folder_is_named(tmp_path: Path, part):
    folder = write_checkpoint(tmp_path)
    (folder / BASE).rename(folder / "model.safetensors")
    index = json.dumps({"weight_map": {QUERY: part}})
    (folder / "base" / "model.safetensors.index.json").write_text(index)
    with pytest.raises(InputError, match="a shard that is not in the folder"):
        read_supernet(folder)


def test_an_adapter_of_embeddings_is_refused(tmp_path: Path):
    folder = write_checkpoint(tmp_path)
    edit_json(
        folder / "adapter" / "adapter_config.json",
        lambda c: c.update(target_modules=["query", "value", "word_embeddings"]),
    )
    rows = read_supernet(write_checkpoint(tmp_path / "plain")).model.config.vocab_size
    module = "bert.embeddings.word_embeddings"
    edit_tensors(
        folder / ADAPTER,
        lambda t: t.update(
            {
                f"base_model.model.{module}.lora_A.weight": torch.zeros(4, 24),
                f"base_model.model.{module}.lora_B.weight": torch.zeros(rows, 4),
            }
        ),
    )
    with pytest.raises(InputError, match=f"adapter/{module}.*no linear layer"):
        read_supernet(folder)
