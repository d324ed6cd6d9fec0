"""Activating a subnet: prefix views of the super-network's tensors, with LoRA merged.

A smaller subnet is really smaller: its layers multiply by sliced matrices, never by masked ones.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.examples import Inputs
from elasticnas.supernet.last_layer import for_first_token
from elasticnas.supernet.packed_layer import for_packs
from elasticnas.supernet.plan import LORA_A, LORA_B
from elasticnas.supernet.supernet import Supernet


@dataclass(frozen=True)
class ActiveSubnet:
    """A subnet ready to run: a model, and the tensors that replace some of its own.

    Tensors that ``tensors`` does not name are the super-network's, shared by every subnet.
    """

    model: nn.Module
    tensors: dict[str, torch.Tensor]

    def logits(self, inputs: Inputs) -> torch.Tensor:
        """The logits, shape (rows, labels), of a batch's inputs. Packs are not for training."""
        # No linear layer shares its weight with another module: to look for such takes half
        # a millisecond for every batch.
        output: Any = functional_call(self.model, self.tensors, (), dict(inputs), tie_weights=False)
        return output.logits  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Splice:
    """Where a subnet is run in part, and looked into.

    The ``first`` layers are left out; where there are any, ``source`` stands in for the embeddings
    and gives what the last of them would have. A module of ``taps`` is handed the hidden states
    behind so many layers, and passes them on.
    """

    first: int = 0
    source: nn.Module | None = None
    taps: Mapping[int, nn.Module] = field(default_factory=dict)


WHOLE = Splice()


def active_layers(supernet: Supernet, subnet: SubnetConfig) -> int:
    """How many of the first encoder layers the subnet keeps."""
    return (
        supernet.num_layers if supernet.plan.depth is None else subnet.amount(supernet.plan.depth)
    )


def active_tensors(
    supernet: Supernet, subnet: SubnetConfig, *, first: int = 0
) -> dict[str, torch.Tensor]:
    """The weights and biases that the subnet has instead of the super-network's, by name.

    Those of the ``first`` layers are left out.

    A cut weight without an adapter is a view; with one it is the sum
    ``W[:o, :i] + scaling * B[:o, :r] A[:r, :i]``, through which gradients flow to A and B.
    """
    plan, full = supernet.plan, supernet.tensors
    kept = active_layers(supernet, subnet)
    active = {}
    for module in supernet.elastic_modules:
        layer = supernet.architecture.layer_of(module)
        if layer is not None and not first <= layer < kept:
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


def activate(supernet: Supernet, subnet: SubnetConfig, splice: Splice = WHOLE) -> ActiveSubnet:
    """The subnet as something that runs. Costs a few small matrix products, no copy of a layer."""
    model = _with_layers(supernet, active_layers(supernet, subnet), splice)
    return ActiveSubnet(model, active_tensors(supernet, subnet, first=splice.first))


def _with_layers(supernet: Supernet, kept: int, splice: Splice) -> nn.Module:
    """The model with only its first ``kept`` layers, less those that ``splice`` leaves out.

    The same modules under the same names. Outside training they also take packs, and the last of
    them computes only what the head sees. Only the modules on the way to what is changed are
    copied, and those shallowly.
    """
    is_training = supernet.model.training
    if is_training and kept == supernet.num_layers:
        return supernet.model
    architecture = supernet.architecture
    root = _shallow_copy(supernet.model)
    head_size = architecture.head_size(supernet.config)
    layers = _own(root, architecture.layers)
    spliced: dict[str, nn.Module] = {}
    for index, layer in enumerate(layers.children()):
        if not splice.first <= index < kept:
            continue
        if not is_training:
            adapted = for_first_token if index == kept - 1 else for_packs
            layer = adapted(layer, architecture, head_size)
        spliced[str(index)] = layer
        if (tap := splice.taps.get(index + 1)) is not None:
            spliced[f"tap_{index + 1}"] = tap
    layers.__dict__["_modules"] = spliced
    if splice.source is not None:
        # Their parent is on the way to the layers, and so a copy by now.
        parent, _, name = architecture.embeddings.rpartition(".")
        root.get_submodule(parent)._modules[name] = splice.source
    return root


def _own(root: nn.Module, path: str) -> nn.Module:
    """The module at ``path``, replaced in ``root`` by a shallow copy, and all on the way to it."""
    module = root
    for attribute in path.split("."):
        child = _shallow_copy(getattr(module, attribute))
        module._modules[attribute] = child
        module = child
    return module


def _shallow_copy(module: nn.Module) -> nn.Module:
    """A module that shares everything with another but its table of submodules."""
    twin = copy.copy(module)
    twin.__dict__["_modules"] = dict(module._modules)
    return twin
