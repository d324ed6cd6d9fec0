"""Which heads, neurons and channels of a BERT carry most, and putting these first.

Each is scored by the squares of what it gives to the layers that read it, on a number of rows:
``E[x_i^2] * |W[:, i]|^2`` (the square of Wanda's score, Sun et al. 2024, summed over the outputs).
Channels of the residual stream have one order in the whole model, for its layers add to each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from elasticnas.supernet.families.family import ATTENTION_ROLES, Family, Role

ROWS_OF_HIDDEN = (Role.ATTENTION_OUTPUT, Role.FFN_OUT)
"""The linear layers that write into the residual stream."""


def input_energies(
    model: PreTrainedModel, family: Family, batches: Iterable[dict[str, torch.Tensor]]
) -> dict[str, torch.Tensor]:
    """For each linear layer of a block, what its inputs carry: (inputs,)."""
    blocks = range(family.num_layers(model.config))
    modules = [module for block in blocks for module in family.modules(block, tuple(Role))]
    weights = {module: model.get_parameter(f"{module}.weight") for module in modules}
    sums = {module: torch.zeros(weights[module].shape[1]) for module in modules}
    mask = torch.empty(0)

    def see(module: str, _: nn.Module, given: tuple[Any, ...]) -> None:
        inputs = given[0].float()[mask]
        sums[module] += inputs.square().sum(0).cpu()

    hooks = [
        model.get_submodule(module).register_forward_pre_hook(partial(see, module))
        for module in modules
    ]
    try:
        with torch.no_grad():
            for batch in batches:
                mask = batch["attention_mask"].flatten(1).bool()
                model(input_ids=batch["input_ids"], attention_mask=mask.long())
    finally:
        for hook in hooks:
            hook.remove()
    return {m: sums[m] * weights[m].detach().float().cpu().square().sum(0) for m in modules}


def reordered(
    model: PreTrainedModel, family: Family, energies: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The model's tensors, what carries most first: the same function, to the last bits."""
    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    size = family.head_size(model.config)
    hidden = torch.zeros(int(model.config.hidden_size))
    for block in range(family.num_layers(model.config)):
        output = family.module(block, Role.ATTENTION_OUTPUT)
        heads = energies[output].view(-1, size).sum(1)
        order = torch.argsort(heads, descending=True, stable=True)
        channels = (order[:, None] * size + torch.arange(size)).flatten()
        neurons = torch.argsort(
            energies[family.module(block, Role.FFN_OUT)], descending=True, stable=True
        )
        for role, rows in (*((r, channels) for r in ATTENTION_ROLES), (Role.FFN_IN, neurons)):
            for module in family.modules(block, (role,)):
                _select(state, module, rows, 0)
                hidden += energies[module]
        _select(state, output, channels, 1)
        _select(state, family.module(block, Role.FFN_OUT), neurons, 1)
    _order_hidden(state, family, torch.argsort(hidden, descending=True, stable=True))
    return state


def _order_hidden(state: dict[str, torch.Tensor], family: Family, order: torch.Tensor) -> None:
    """One order for every axis that is channels of the residual stream."""
    writers = tuple(f"{family.linears[role]}.weight" for role in ROWS_OF_HIDDEN)
    biases = tuple(f"{family.linears[role]}.bias" for role in ROWS_OF_HIDDEN)
    readers = tuple(
        f"{path}.weight" for role, path in family.linears.items() if role not in ROWS_OF_HIDDEN
    )
    for name, tensor in state.items():
        is_written = name.endswith((*writers, *biases))
        if "LayerNorm" in name or is_written:
            state[name] = tensor[order]
        elif name.endswith((*readers, "_embeddings.weight")):
            state[name] = tensor[:, order]
        elif name.endswith("pooler.dense.weight"):
            # Its outputs are channels too: a narrower model of BERT's class has fewer.
            state[name] = tensor[order][:, order]
        elif name.endswith("pooler.dense.bias"):
            state[name] = tensor[order]
        elif name == "classifier.weight":
            state[name] = tensor[:, order]


def _select(state: dict[str, torch.Tensor], module: str, order: torch.Tensor, axis: int) -> None:
    state[f"{module}.weight"] = state[f"{module}.weight"].index_select(axis, order)
    if axis == 0 and f"{module}.bias" in state:
        state[f"{module}.bias"] = state[f"{module}.bias"][order]
