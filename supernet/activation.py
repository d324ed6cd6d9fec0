"""Activating a subnet: prefix views of the super-network's tensors, with LoRA merged.

A smaller subnet is really smaller: its layers multiply by sliced matrices, never by masked ones.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from search.space import SubnetConfig
from supernet.last_layer import for_first_token
from supernet.plan import LORA_A, LORA_B
from supernet.supernet import Supernet


@dataclass(frozen=True)
class ActiveSubnet:
    """A subnet ready to run: a model, and the tensors that replace some of its own.

    Tensors that ``tensors`` does not name are the super-network's, shared by every subnet.
    """

    model: nn.Module
    tensors: dict[str, torch.Tensor]

    def logits(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """The logits, shape (batch, labels), for token ids and masks of shape (batch, tokens)."""
        output: Any = functional_call(self.model, self.tensors, (), inputs)
        return output.logits  # type: ignore[no-any-return]


def active_layers(supernet: Supernet, subnet: SubnetConfig) -> int:
    """How many of the first encoder layers the subnet keeps."""
    return supernet.num_layers if supernet.plan.depth is None else subnet[supernet.plan.depth]


def active_tensors(supernet: Supernet, subnet: SubnetConfig) -> dict[str, torch.Tensor]:
    """The weights and biases that the subnet has instead of the super-network's, by name.

    A cut weight without an adapter is a view; with one it is the sum
    ``W[:o, :i] + scaling * B[:o, :r] A[:r, :i]``, through which gradients flow to A and B.
    """
    plan, full = supernet.plan, supernet.tensors
    kept = active_layers(supernet, subnet)
    active = {}
    for module in supernet.elastic_modules:
        place = supernet.architecture.role_of(module)
        if place is not None and place[0] >= kept:
            continue
        name = f"{module}.weight"
        weight = plan.slice(name, full[name], subnet)
        if (adapter := supernet.adapters.get(module)) is not None:
            a = plan.slice(f"{module}.{LORA_A}", adapter.a, subnet)
            b = plan.slice(f"{module}.{LORA_B}", adapter.b, subnet)
            merged = torch.addmm(weight.to(a.dtype), b, a, alpha=adapter.scaling)
            weight = merged.to(weight.dtype)
        active[name] = weight
        if (bias := full.get(f"{module}.bias")) is not None:
            active[f"{module}.bias"] = plan.slice(f"{module}.bias", bias, subnet)
    return active


def activate(supernet: Supernet, subnet: SubnetConfig) -> ActiveSubnet:
    """The subnet as something that runs. Costs a few small matrix products, no copy of a layer."""
    model = _with_first_layers(supernet, active_layers(supernet, subnet))
    return ActiveSubnet(model, active_tensors(supernet, subnet))


def _with_first_layers(supernet: Supernet, kept: int) -> nn.Module:
    """The model with only its first ``kept`` layers: the same modules, a shorter list of them.

    Outside training the last of them computes only what the head sees. Only the modules on the way
    to the list are copied, and those shallowly.
    """
    if supernet.model.training and kept == supernet.num_layers:
        return supernet.model
    *path, last = supernet.architecture.layers.split(".")
    root = parent = _shallow_copy(supernet.model)
    for attribute in path:
        child = _shallow_copy(getattr(parent, attribute))
        parent._modules[attribute] = child
        parent = child
    layers = list(getattr(parent, last))[:kept]
    if not supernet.model.training:
        head_size = supernet.architecture.head_size(supernet.config)
        layers[-1] = for_first_token(layers[-1], supernet.architecture, head_size)
    parent._modules[last] = nn.ModuleList(layers)
    return root


def _shallow_copy(module: nn.Module) -> nn.Module:
    """A module that shares everything with another but its table of submodules."""
    twin = copy.copy(module)
    twin.__dict__["_modules"] = dict(module._modules)
    return twin
