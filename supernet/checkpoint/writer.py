"""Writing a super-network as a checkpoint folder: the inverse of the reader."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from elasticnas.supernet.checkpoint.json_file import read_object
from elasticnas.supernet.checkpoint.tokenizer import copy_tokenizer
from elasticnas.supernet.families.family import HeadKind
from elasticnas.supernet.formats.space_file import SPACE_FILE, space_file
from elasticnas.supernet.supernet import Supernet

_PREFIX = "base_model.model."
_WEIGHTS = ("model*.safetensors*", "pytorch_model*.bin*")


def write_supernet(supernet: Supernet, base: Path, output: Path) -> None:
    """Write ``base/``, ``adapter/`` and ``search_space.json`` into ``output``.

    ``base`` is the folder whose model the super-network was built on; its files are copied. All
    adapters must have one rank, as a LoNAS super-network's do.
    """
    (output / "base").mkdir(parents=True, exist_ok=True)
    (output / "adapter").mkdir(exist_ok=True)
    for pattern in ("config.json", "generation_config.json", *_WEIGHTS):
        for file in base.glob(pattern):
            shutil.copy(file, output / "base" / file.name)
    copy_tokenizer(base, output / "base")
    tensors: dict[str, torch.Tensor] = {}
    for module, adapter in supernet.adapters.items():
        tensors[f"{_PREFIX}{module}.lora_A.weight"] = adapter.a.detach().cpu()
        tensors[f"{_PREFIX}{module}.lora_B.weight"] = adapter.b.detach().cpu()
    for name in supernet.head_tensors:
        tensors[f"{_PREFIX}{name}"] = supernet.model.get_parameter(name).detach().cpu()
    save_file(tensors, output / "adapter" / "adapter_model.safetensors")
    (output / "adapter" / "adapter_config.json").write_text(
        json.dumps(_adapter_config(supernet, base.name), indent=2), encoding="utf-8"
    )
    content = space_file(supernet.space, supernet.plan, supernet.reference_length)
    text = content.model_dump_json(indent=2, exclude_defaults=True)
    (output / SPACE_FILE).write_text(text, encoding="utf-8")
    if supernet.task_head.kind is HeadKind.CLASSIFIER:
        _describe_head(output / "base" / "config.json", supernet)


def _adapter_config(supernet: Supernet, base_name: str) -> dict[str, object]:
    adapters = list(supernet.adapters.values())
    rank = adapters[0].a.shape[0]
    return {
        "peft_type": "LORA",
        "task_type": supernet.task_head.task_type,
        "base_model_name_or_path": base_name,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": adapters[0].scaling * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "target_modules": _targets(supernet),
        "modules_to_save": (list(supernet.task_head.trained) or None)
        if supernet.head_tensors
        else None,
    }


def _targets(supernet: Supernet) -> list[str]:
    """What PEFT is to adapt: ends of names where no other module's name ends so, else whole names.

    BERT calls three of a block's layers ``dense``.
    """
    ends = {module.rpartition(".")[2] for module in supernet.adapters}
    named = {n for n, _ in supernet.model.named_modules() if n.rpartition(".")[2] in ends}
    return sorted(ends if named == set(supernet.adapters) else supernet.adapters)


def _describe_head(config: Path, supernet: Supernet) -> None:
    """Say in the copied config what the new head gives, where Transformers looks for it."""
    content = read_object(config, field="base/config.json")
    names = supernet.label_names or tuple(f"LABEL_{i}" for i in range(supernet.num_labels))
    content["problem_type"] = supernet.config.problem_type
    content["id2label"] = {str(index): name for index, name in enumerate(names)}
    content["label2id"] = {name: index for index, name in enumerate(names)}
    config.write_text(json.dumps(content, indent=2), encoding="utf-8")
