"""A format of one's own, in one file, keeps the contract like those that come with ElasticNAS."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from elasticnas.supernet.contracts.checkpoints import LAYERS, RANK, write_checkpoint
from elasticnas.supernet.contracts.formats import FormatContract
from elasticnas.supernet.families.family import Role
from elasticnas.supernet.forward.activation import active_tensors
from tests.additions.family_seed_oss import SEED_OSS
from tests.additions.format_sqft import FILE, SQFT


class TestSqft(FormatContract):
    format = SQFT

    def write(self, folder: Path) -> None:
        """A sparse decoder, whose groups of ranks are a layer's adapters each."""
        write_checkpoint(folder, SEED_OSS)
        (folder / "search_space.json").unlink()
        groups = [
            {
                "target": [
                    f"base_model.model.{module}.lora_A"
                    for module in SEED_OSS.modules(layer, list(Role))
                ],
                "search_space": [RANK, 2, 1],
            }
            for layer in range(LAYERS)
        ]
        (folder / FILE).write_text(json.dumps(groups), encoding="utf-8")
        file = folder / "base" / "model.safetensors"
        sparse = {
            name: tensor * (torch.rand_like(tensor) > 0.5) if "proj.weight" in name else tensor
            for name, tensor in load_file(file).items()
        }
        save_file(sparse, file, metadata={"format": "pt"})

    def test_zeros_of_the_sparse_base_stay(self) -> None:
        with self.supernet() as supernet:
            for name, tensor in active_tensors(supernet, supernet.space.maximal).items():
                if name.endswith("weight"):
                    assert torch.equal(tensor == 0, supernet.tensors[name] == 0)
                    assert not torch.equal(tensor, supernet.tensors[name])
