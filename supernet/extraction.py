"""A subnet apart from its super-network, in tensors of its own.

A slicing plan takes prefixes, and the whole of a tensor that is no longer than the prefix. So what
holds the tensors of one subnet alone is a super-network still, of which this subnet is run,
trained, measured and exported like any other.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn
from transformers import PreTrainedModel

from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.forward.activation import (
    active_adapter,
    active_halves,
    is_active,
    merged,
)
from elasticnas.supernet.supernet import LoraAdapter, Supernet, named_tensors


@dataclass(frozen=True)
class Extracted:
    """What runs one subnet and no other, and its own ``tensors`` by name.

    Those of ``supernet`` that are not its own are shared with the super-network it was taken from.
    """

    supernet: Supernet
    tensors: Mapping[str, torch.Tensor]

    def merged(self, subnet: SubnetConfig) -> Supernet:
        """The super-network of this `subnet` alone, its adapters merged: as it is handed out."""
        return extract(self.supernet, subnet).supernet if self.supernet.adapters else self.supernet


def extract(supernet: Supernet, subnet: SubnetConfig) -> Extracted:
    """A subnet with all weights its own, adapters merged, in the super-network's dtype.

    Where its weights are refitted for its widths, these are the weights that become its own.
    """
    halves = active_halves(supernet, subnet)
    own = {
        name: nn.Parameter(_own(supernet, subnet, name), requires_grad=False)
        for name, _ in supernet.model.named_parameters()
        if is_active(supernet.family, name, halves) and supernet.plan.has(name, subnet)
    }
    model = _with(supernet.model, own)
    return Extracted(replace(supernet, model=model, adapters={}, refits={}), own)


def extract_adapters(supernet: Supernet, subnet: SubnetConfig) -> Extracted:
    """A subnet of which adapters and the classifier's head are its own, the rest is shared."""
    halves = active_halves(supernet, subnet)
    trained = tuple(f"{module}." for module in supernet.task_head.trained)
    head = {
        name: nn.Parameter(parameter.detach().clone(), requires_grad=False)
        for name, parameter in supernet.model.named_parameters()
        if name.startswith(trained)
    }
    adapters: dict[str, LoraAdapter] = {}
    for module in supernet.adapters:
        found = active_adapter(supernet, module, subnet)
        if found is not None and is_active(supernet.family, module, halves):
            a, b = (each.detach().clone() for each in (found.a, found.b))
            adapters[module] = replace(found, a=a, b=b)
    model = _with(supernet.model, head)
    own = {n: t for n, t in named_tensors(model, adapters).items() if n in head or ".lora_" in n}
    return Extracted(replace(supernet, model=model, adapters=adapters), own)


def _own(supernet: Supernet, subnet: SubnetConfig, name: str) -> torch.Tensor:
    module, _, part = name.rpartition(".")
    sliced = supernet.sliced(name, subnet).detach()
    adapter = active_adapter(supernet, module, subnet) if part == "weight" else None
    return sliced.clone() if adapter is None else merged(sliced, adapter).detach()


def _with(model: PreTrainedModel, own: Mapping[str, nn.Parameter]) -> PreTrainedModel:
    """The same modules anew, with these parameters in the places of others; the rest is shared.

    A tied weight is replaced under all of its names.
    """
    before = dict(model.named_parameters())
    twin: PreTrainedModel = copy.deepcopy(model, {id(each): each for each in model.parameters()})
    replaced = {id(before[name]): parameter for name, parameter in own.items()}
    for module in twin.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and id(parameter) in replaced:
                module._parameters[name] = replaced[id(parameter)]
    return twin
