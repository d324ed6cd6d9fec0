"""Writing a super-network as a checkpoint folder: the inverse of the reader."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from supernet.checkpoint.space_file import SPACE_FILE, SpaceFile
from supernet.checkpoint.tokenizer import TOKENIZER_FILES
from supernet.supernet import Supernet

_PREFIX = "base_model.model."
_BASE_FILES = ("config.json", "model.safetensors", "pytorch_model.bin", *TOKENIZER_FILES)


def write_supernet(supernet: Supernet, base: Path, output: Path) -> None:
    """Write ``base/``, ``adapter/`` and ``search_space.json`` into ``output``.

    ``base`` is the folder whose encoder the super-network was built on; its files are copied. All
    adapters must have one rank, as a LoNAS super-network's do.
    """
    (output / "base").mkdir(parents=True, exist_ok=True)
    (output / "adapter").mkdir(exist_ok=True)
    for name in (*_BASE_FILES, *(shard.name for shard in base.glob("model*.safetensors*"))):
        if (base / name).is_file():
            shutil.copy(base / name, output / "base" / name)
    tensors: dict[str, torch.Tensor] = {}
    for module, adapter in supernet.adapters.items():
        tensors[f"{_PREFIX}{module}.lora_A.weight"] = adapter.a.detach()
        tensors[f"{_PREFIX}{module}.lora_B.weight"] = adapter.b.detach()
    for name in supernet.head_tensors:
        tensors[f"{_PREFIX}{name}"] = supernet.model.get_parameter(name).detach()
    save_file(tensors, output / "adapter" / "adapter_model.safetensors")
    (output / "adapter" / "adapter_config.json").write_text(
        json.dumps(_adapter_config(supernet, base.name), indent=2)
    )
    space = SpaceFile(
        dimensions=supernet.space.dimensions, reference_length=supernet.reference_length
    )
    (output / SPACE_FILE).write_text(space.model_dump_json(indent=2))
    if supernet.label_names is not None:
        _name_labels(output / "base" / "config.json", supernet.label_names)


def _adapter_config(supernet: Supernet, base_name: str) -> dict[str, object]:
    adapters = list(supernet.adapters.values())
    rank = adapters[0].a.shape[0]
    return {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS",
        "base_model_name_or_path": base_name,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": adapters[0].scaling * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "target_modules": sorted({module.rpartition(".")[2] for module in supernet.adapters}),
        "modules_to_save": list(supernet.architecture.trained),
    }


def _name_labels(config: Path, label_names: tuple[str, ...]) -> None:
    """Put the names of the classes into the copied config, where Transformers looks for them."""
    content = json.loads(config.read_text())
    content["id2label"] = {str(index): name for index, name in enumerate(label_names)}
    content["label2id"] = {name: index for index, name in enumerate(label_names)}
    config.write_text(json.dumps(content, indent=2))
