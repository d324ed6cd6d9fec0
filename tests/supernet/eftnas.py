"""Small folders as EFTNAS writes them: a whole model, its tokenizer and the NNCF config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from tests.supernet.tiny import FFN, HIDDEN, LAYERS, tiny_model, write_tokenizer

LAYER = "BertForSequenceClassification/BertModel[bert]/BertEncoder[encoder]/ModuleList[layer]/"
EMBEDDED = "BertForSequenceClassification/BertModel[bert]/BertEmbeddings[embeddings]/"
EMBEDDED += "Dropout[dropout]/dropout_0"
WIDTHS = ([HIDDEN, 18, 6], [FFN, 24, 7])
"""Of attention, whose heads have 6 channels, and of the FFN."""


def linear(layer: int, part: str, *, name: str) -> str:
    """The node of a linear layer of a block."""
    return f"{LAYER}BertLayer[{layer}]/{part}/NNCFLinear[{name}]/linear_0"


def half_end(layer: int, half: str) -> str:
    """The node at which the attention or the FFN of a block ends: its norm."""
    part = {"attention": "BertAttention[attention]/BertSelfOutput", "ffn": "BertOutput"}[half]
    return f"{LAYER}BertLayer[{layer}]/{part}[output]/NNCFLayerNorm[LayerNorm]/layer_norm_0"


def config(*, blocks: list[list[str]] | None = None, **stage: Any) -> dict[str, Any]:
    """Elastic widths of every layer, and ``blocks`` to skip; ``stage`` is said of its training."""
    own = "BertAttention[attention]/BertSelfAttention[self]"
    layers = range(LAYERS)
    attention = [[linear(i, own, name=n) for n in ("query", "key", "value")] for i in layers]
    ffn = [[linear(i, "BertIntermediate[intermediate]", name="dense")] for i in layers]
    output = "BertAttention[attention]/BertSelfOutput[output]"
    dims = ["width"] if blocks is None else ["width", "depth"]
    elasticity: dict[str, Any] = {
        "available_elasticity_dims": dims,
        "width": {
            "overwrite_groups": attention + ffn,
            "overwrite_groups_widths": [WIDTHS[0]] * LAYERS + [WIDTHS[1]] * LAYERS,
            "add_dynamic_inputs": [linear(i, output, name="dense") for i in layers],
        },
    }
    if blocks is not None:
        elasticity["depth"] = {"skipped_blocks": blocks}
    described = {"train_dims": dims, "epochs": 1, "depth_indicator": 1, "width_indicator": 5}
    return {
        "input_info": [{"sample_size": [1, 16], "type": "long", "keyword": "input_ids"}],
        "bootstrapNAS": {
            "training": {
                "algorithm": "progressive_shrinking",
                "sandwich_rule": True,
                "schedule": {"list_stage_descriptions": [described | stage]},
                "elasticity": elasticity,
            },
            "search": {"algorithm": "NSGA2", "eval_metric_name": "eval_accuracy"},
        },
    }


def write_folder(folder: Path, content: dict[str, Any] | None = None) -> Path:
    """The folder of a super-network with random weights, and what training leaves in it."""
    model = tiny_model("bert")
    model.save_pretrained(folder, safe_serialization=False)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    for file in folder.glob("model.safetensors"):
        file.unlink()
    write_tokenizer(folder)
    (folder / "nncf_config.json").write_text(json.dumps(content or config()))
    (folder / "elasticity_state.pt").write_bytes(b"\x80\x04cnncf.api.compression\nno")
    importance = folder / "movement_sparsity_0"
    importance.mkdir()
    torch.save(scores(model.state_dict()), importance / "pytorch_model.bin")
    (importance / "config.json").write_text((folder / "config.json").read_text())
    return folder


def scores(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A model's tensors with the scores that movement sparsity learns beside a layer's weight."""
    layer = "bert.encoder.layer.0.intermediate.dense.pre_ops.0.op"
    return state | {f"{layer}.weight_importance": torch.zeros(FFN, 1)}
