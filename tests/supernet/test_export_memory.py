"""What an export takes of memory: pages of the checkpoint, and a tensor at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from elasticnas.supernet.contracts.checkpoints import write_checkpoint
from elasticnas.supernet.families.family import Role
from elasticnas.supernet.families.llama import LLAMA

WORK = """
import sys
from pathlib import Path
from elasticnas.api_schemas.weights import WeightsFormat
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.export import export_subnet
from elasticnas.supernet.report import report
from tests.supernet.test_export import card

def of_process(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

def grown(work):
    before = of_process("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    work()
    print(of_process("VmHWM") - before)

supernet = read_supernet(Path(sys.argv[1]))
if sys.argv[2] == "report":
    grown(lambda: report(supernet))
else:
    whole, subnet = WeightsFormat.TRANSFORMERS, supernet.space.heuristic
    archive = Path(sys.argv[2])
    grown(lambda: export_subnet(supernet, subnet, card(), whole, archive=archive, folder="s"))
"""

LAYERS, HIDDEN, FFN, RANK = 12, 1024, 3072, 16


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_export_or_a_report_holds_no_second_model(tmp_path: Path):
    """A LLaMA of 300 MB in bfloat16 with adapters on all its linear layers: 1.2 x the file at most.

    Its own pages are most of it, which the system takes back when it needs the room.
    """
    folder = large(tmp_path / "c")
    size = (folder / "base" / "model.safetensors").stat().st_size
    assert 280e6 < size < 400e6
    archive = tmp_path / "export" / "subnet.zip"
    assert grown(folder, str(archive)) < 1.2 * size
    assert archive.stat().st_size > 0.6 * size
    assert grown(folder, "report") < 1.1 * size


def grown(folder: Path, work: str) -> int:
    """By how many bytes a process grows that writes an archive, or reports what it reads."""
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(folder), work],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        check=True,
        capture_output=True,
        text=True,
    )
    print(work, done.stdout)
    return int(done.stdout)


def large(folder: Path) -> Path:
    """A checkpoint of random numbers whose heads, FFN widths and ranks are elastic."""
    write_checkpoint(folder, LLAMA)
    config = LlamaConfig(
        vocab_size=8000,
        hidden_size=HIDDEN,
        intermediate_size=FFN,
        num_hidden_layers=LAYERS,
        num_attention_heads=16,
        num_key_value_heads=8,
        max_position_embeddings=512,
        pad_token_id=0,
        dtype="bfloat16",
    )
    with torch.device("meta"):
        shapes = {name: t.shape for name, t in LlamaForCausalLM(config).state_dict().items()}
    config.save_pretrained(folder / "base")
    torch.manual_seed(0)
    tensors = {name: torch.randn(shape, dtype=torch.bfloat16) for name, shape in shapes.items()}
    save_file(tensors, folder / "base" / "model.safetensors", metadata={"format": "pt"})
    adapters, dimensions = {}, []
    for layer in range(LAYERS):
        for module in LLAMA.modules(layer, list(Role)):
            outputs, inputs = shapes[f"{module}.weight"]
            adapters[f"base_model.model.{module}.lora_A.weight"] = torch.randn(RANK, inputs)
            adapters[f"base_model.model.{module}.lora_B.weight"] = torch.randn(outputs, RANK)
        for part, choices in {"ffn": [FFN, 2048, 1024], "rank": [RANK, 8, 4]}.items():
            name = f"{part} of layer {layer}"
            dimensions.append({"name": name, "part": part, "layer": layer, "choices": choices})
    save_file(adapters, folder / "adapter" / "adapter_model.safetensors")
    file = folder / "adapter" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"r": RANK}))
    space = {"version": 2, "dimensions": dimensions}
    (folder / "search_space.json").write_text(json.dumps(space))
    return folder
