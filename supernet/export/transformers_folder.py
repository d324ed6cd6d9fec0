"""The ``transformers`` format: a self-contained folder with the subnet's merged weights.

Where the subnet's widths fit a stock config (equal FFN widths, all heads, any depth) the folder
holds no code. Otherwise it carries ``modeling_subnet.py``, which gives each layer its own width,
and loads with ``trust_remote_code=True`` on a machine that has never heard of ElasticNAS.
"""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from elasticnas.api_schemas.weights import SubnetCard, WeightsFormat
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.activation import active_layers, active_tensors
from elasticnas.supernet.checkpoint.tokenizer import copy_tokenizer
from elasticnas.supernet.export import modeling_subnet
from elasticnas.supernet.export.model_card import write_model_card
from elasticnas.supernet.supernet import Supernet


def write_transformers_folder(
    supernet: Supernet, subnet: SubnetConfig, card: SubnetCard, folder: Path
) -> None:
    """Write config, weights (safetensors), tokenizer, model card, and code where it is needed."""
    state = subnet_state(supernet, subnet)
    config = copy.deepcopy(supernet.config)
    architecture = supernet.architecture
    kept = active_layers(supernet, subnet)
    setattr(config, architecture.depth, kept)
    ffn_widths = {
        state[f"{architecture.module(layer, 'ffn_in')}.weight"].shape[0] for layer in range(kept)
    }
    if len(ffn_widths) == 1:
        setattr(config, architecture.ffn_width, ffn_widths.pop())
    stock = architecture.model_class(config).state_dict()
    shapes = {
        name.removesuffix(".weight"): list(tensor.shape)
        for name, tensor in state.items()
        if name.endswith(".weight") and tensor.shape != stock[name].shape
    }
    if shapes:
        class_name = f"Subnet{architecture.model_class.__name__}"
        config.linear_shapes = shapes
        config.auto_map = {"AutoModelForSequenceClassification": f"modeling_subnet.{class_name}"}
        shutil.copy(Path(modeling_subnet.__file__), folder / "modeling_subnet.py")
    else:
        class_name = architecture.model_class.__name__
    config.architectures = [class_name]
    config.save_pretrained(folder)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    copy_tokenizer(supernet.folder / "base", folder)
    write_model_card(
        folder,
        supernet,
        subnet,
        card,
        WeightsFormat.TRANSFORMERS,
        state.values(),
        needs_code=bool(shapes),
    )


def subnet_state(supernet: Supernet, subnet: SubnetConfig) -> dict[str, torch.Tensor]:
    """The whole state dict of a subnet: active tensors copied out, layers not kept left out."""
    kept = active_layers(supernet, subnet)
    layers = f"{supernet.architecture.layers}."
    with torch.inference_mode():
        active = active_tensors(supernet, subnet)
        return {
            name: active.get(name, tensor).clone().contiguous()
            for name, tensor in supernet.model.state_dict().items()
            if not name.startswith(layers)
            or int(name.removeprefix(layers).partition(".")[0]) < kept
        }
