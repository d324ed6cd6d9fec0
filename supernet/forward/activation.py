"""Activating a subnet: prefix views of the super-network's tensors, with LoRA merged.

A smaller subnet is really smaller: its layers multiply by sliced matrices, never by masked ones.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from transformers.utils.generic import ModelOutput

from elasticnas.api_schemas.spaces import HALVES, Half
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.families.family import BlockHalf, Family
from elasticnas.supernet.forward.beginnings import (
    BlockStates,
    for_last_token,
    keeping,
    showing_states,
    tokenwise_for_last_token,
)
from elasticnas.supernet.forward.blocks import (
    BlockParts,
    at_places,
    for_first_token,
    for_packs,
    merging_in_turn,
    skipped,
    tapped,
    tokenwise_for_first_token,
    with_branch,
)
from elasticnas.supernet.forward.causal_packs import attending_in_packs
from elasticnas.supernet.forward.stand_in import StandIn
from elasticnas.supernet.measuring.examples import Inputs
from elasticnas.supernet.plan import LORA_A, LORA_B, Join
from elasticnas.supernet.supernet import LoraAdapter, Supernet


@dataclass(frozen=True)
class ActiveSubnet:
    """A subnet ready to run: a model, and the tensors that replace some of its own.

    Tensors that ``tensors`` does not name are the super-network's, shared by every subnet.
    ``begin`` makes the model of `beginning`, where that is another.
    """

    model: nn.Module
    tensors: dict[str, torch.Tensor]
    family: Family
    begin: Callable[[], nn.Module] | None = None

    def beginning(self) -> nn.Module:
        """The model as it reads the beginnings of texts, whose last tokens' logits alone it gives.

        What comes behind is for ``model``, with whose modules it shares all tensors.
        """
        return self.model if self.begin is None else self.begin()

    def logits(self, inputs: Inputs, at: torch.Tensor | None = None) -> torch.Tensor:
        """The logits of a batch's inputs. Packs are not for training.

        A classifier's have shape (rows, labels), a language model's (rows, tokens, vocabulary),
        those of starts and ends (rows, tokens, 2). Of a vocabulary of thousands they are larger
        than all else: with ``at`` (places,), a language model's are computed at these places of all
        rows' tokens end to end, (places, vocabulary).
        """
        model = self.model if at is None else _headed_at(self.model, self.family, at)
        # No linear layer shares its weight with another module: to look for such takes half
        # a millisecond for every batch.
        called = self.family.called_with(inputs)
        is_causal_pack = self.family.is_causal and "packing" in called
        with attending_in_packs(model) if is_causal_pack else nullcontext():
            output: Any = functional_call(model, self.tensors, (), called, tie_weights=False)
        return output_logits(output)


def output_logits(output: ModelOutput) -> torch.Tensor:
    """The logits in what a model gives; of starts and ends (rows, tokens, 2), both in one."""
    found = output.get("logits")
    if found is None:
        found = torch.stack((output["start_logits"], output["end_logits"]), dim=-1)
    assert isinstance(found, torch.Tensor)
    return found


@dataclass(frozen=True)
class Splice:
    """Where a subnet is run in part, and looked into.

    The ``first`` of the subnet's blocks are left out; where there are any, ``source`` stands in for
    the embeddings and gives what the last of them would have. Each of ``taps`` is shown the hidden
    states behind so many of them.

    Of a subnet that ``reads_on``, the beginnings of texts alone are read so. Call by call, each of
    the ``first`` blocks then keeps its keys and values of ``states``, and ``state_taps`` are shown
    those of others.
    """

    first: int = 0
    source: nn.Module | None = None
    taps: Mapping[int, Callable[[torch.Tensor], object]] = field(default_factory=dict)
    reads_on: bool = False
    states: Mapping[int, Iterator[BlockStates]] = field(default_factory=dict)
    state_taps: Mapping[int, Callable[[BlockStates], object]] = field(default_factory=dict)


WHOLE = Splice()


def active_halves(supernet: Supernet, subnet: SubnetConfig) -> dict[int, tuple[Half, ...]]:
    """The halves that the subnet runs of each block, by its place in the full model, in order.

    A block of which it runs neither is not there.
    """
    presences = supernet.plan.presences
    left_out = {(each.layer, each.half) for each in presences if not subnet.meets((each.when,))}
    run = {
        block: tuple(half for half in HALVES if (block, half) not in left_out)
        for block in range(supernet.num_layers)
    }
    return {block: halves for block, halves in run.items() if halves}


def active_blocks(supernet: Supernet, subnet: SubnetConfig) -> tuple[int, ...]:
    """The places in the full model of the blocks that the subnet runs, wholly or in part."""
    return tuple(active_halves(supernet, subnet))


def is_active(family: Family, name: str, active: Mapping[int, Collection[Half]]) -> bool:
    """Whether a module or tensor is part of a subnet with these ``active`` halves."""
    if (block := family.layer_of(name)) is None:
        return True
    half = family.half_of(name)
    return block in active and (half is None or half in active[block])


def active_tensors(
    supernet: Supernet, subnet: SubnetConfig, *, first: int = 0, merges_all: bool = False
) -> dict[str, torch.Tensor]:
    """The weights and biases that the subnet has instead of the super-network's, by name.

    Those of the ``first`` of its blocks are left out.

    A cut weight without an adapter, or with one that stays unmerged, is a view or what that is
    refitted to; with a merged one
    it is the sum ``W[:o, :i] + scaling * B[:o, :r] A[:r, :i]``, through which gradients flow to A
    and B. ``merges_all`` merges unmerged ones too, as a file without adapters needs it.
    """
    plan, full = supernet.plan, supernet.tensors
    halves = dict([*active_halves(supernet, subnet).items()][first:])
    active = {}
    for module in supernet.elastic_modules:
        if not is_active(supernet.family, module, halves) or not plan.has(module, subnet):
            continue
        name = f"{module}.weight"
        weight = supernet.sliced(name, subnet)
        adapter = active_adapter(supernet, module, subnet)
        if adapter is not None and (merges_all or module not in supernet.unmerged):
            weight = merged(weight, adapter)
        active[name] = weight
        if (bias := full.get(f"{module}.bias")) is not None:
            active[f"{module}.bias"] = plan.slice(f"{module}.bias", bias, subnet)
    return active


def active_adapter(supernet: Supernet, module: str, subnet: SubnetConfig) -> LoraAdapter | None:
    """A linear module's adapter at the subnet's rank and widths: views, None where it has none.

    It has none where its rank is 0.
    """
    if (adapter := supernet.adapters.get(module)) is None:
        return None
    a = supernet.plan.slice(f"{module}.{LORA_A}", adapter.a, subnet)
    if not len(a):
        return None
    b = supernet.plan.slice(f"{module}.{LORA_B}", adapter.b, subnet)
    return replace(adapter, a=a, b=b)


def merged(weight: torch.Tensor, adapter: LoraAdapter) -> torch.Tensor:
    """A weight with its adapter in it: summed in the adapter's precision, in the weight's dtype."""
    full = weight.to(adapter.a.dtype)
    if adapter.join in (Join.MASKED, Join.MASKED_IN_TURN):
        branch = adapter.scaling * (adapter.b @ adapter.a)
        return torch.where(full == 0, full, full + branch).to(weight.dtype)
    return torch.addmm(full, adapter.b, adapter.a, alpha=adapter.scaling).to(weight.dtype)


def activate(supernet: Supernet, subnet: SubnetConfig, splice: Splice = WHOLE) -> ActiveSubnet:
    """The subnet as something that runs. Costs a few small matrix products, no copy of a layer."""
    begin = None
    if supernet.family.is_causal and (splice.reads_on or not splice.first):
        begin = partial(_with_layers, supernet, subnet, splice, begins=True)
    whole = WHOLE if splice.reads_on else splice
    model = _with_layers(supernet, subnet, whole)
    tensors = active_tensors(supernet, subnet, first=whole.first)
    if whole.source is not None:  # the embeddings are not there
        prefix = f"{supernet.family.embeddings}."
        tensors = {name: each for name, each in tensors.items() if not name.startswith(prefix)}
    return ActiveSubnet(model, tensors, supernet.family, begin)


def _with_layers(
    supernet: Supernet, subnet: SubnetConfig, splice: Splice, *, begins: bool = False
) -> nn.Module:
    """The model with only the subnet's blocks, of which ``splice`` leaves the first out.

    One that ``begins`` texts computes as little of the last block as the last token needs.

    The same modules under the same names and at the same places, for some models read settings of
    a block by its place: one that is left out before the last passes on what it is given. Only the
    modules on the way to what is changed are copied, and those shallowly.
    """
    halves = active_halves(supernet, subnet)
    kept = tuple(halves)
    is_whole = sum(map(len, halves.values())) == len(HALVES) * supernet.num_layers
    is_simple = not supernet.unmerged and not supernet.plan.modules
    if supernet.model.training and is_whole and is_simple:
        return supernet.model
    family = supernet.family
    root = _shallow_copy(supernet.model)
    _put_branches(root, supernet, subnet, kept[splice.first :])
    _take_out(root, supernet, subnet, kept[splice.first :])
    layers = _own(root, family.layers)
    spliced: dict[str, nn.Module] = {}
    places = {place: depth for depth, place in enumerate(kept, 1)}
    for place, block in enumerate(list(layers.children())[: 1 + max(kept, default=-1)]):
        depth = places.get(place, 0)
        if depth <= splice.first:
            passing = skipped(block, family)
            states = splice.states.get(depth)
            spliced[str(place)] = passing if states is None else keeping(passing, place, states)
            continue
        is_last = depth == len(kept)
        if is_last and begins:
            running = _for_last_token(block, supernet, halves[place], place)
        else:
            running = _adapted(block, supernet, halves[place], is_last=is_last)
        if (tap := splice.taps.get(depth)) is not None:
            running = tapped(running, tap)
        if (state_tap := splice.state_taps.get(depth)) is not None:
            running = showing_states(running, place, state_tap)
        spliced[str(place)] = running
    layers.__dict__["_modules"] = spliced
    if splice.source is not None:
        parent, _, name = family.embeddings.rpartition(".")
        _own(root, parent)._modules[name] = splice.source
    return root


def _put_branches(
    root: nn.Module, supernet: Supernet, subnet: SubnetConfig, blocks: Collection[int]
) -> None:
    """Let the linear modules of these blocks with unmerged adapters add what those give."""
    names: dict[str, list[str]] = {}
    for module in supernet.unmerged:
        if supernet.family.layer_of(module) in blocks:
            parent, _, name = module.rpartition(".")
            names.setdefault(parent, []).append(name)
    for parent, children in names.items():
        owner = _own(root, parent)
        for name in children:
            adapter = active_adapter(supernet, f"{parent}.{name}", subnet)
            owner._modules[name] = _with_adapter(owner.get_submodule(name), adapter)


def _take_out(
    root: nn.Module, supernet: Supernet, subnet: SubnetConfig, blocks: Collection[int]
) -> None:
    """Take the modules out of these blocks that the subnet does not have."""
    absent = [each for each in supernet.plan.modules if not each.holds(subnet)]
    for each in absent:
        if supernet.family.layer_of(each.module) in blocks:
            parent, _, name = each.module.rpartition(".")
            del _own(root, parent)._modules[name]


def _with_adapter(linear: nn.Module, adapter: LoraAdapter | None) -> nn.Module:
    if adapter is None:
        return linear
    if adapter.join is Join.MASKED_IN_TURN:
        return merging_in_turn(linear, partial(merged, adapter=adapter))
    return with_branch(linear, adapter.a, adapter.b, adapter.scaling)


def _adapted(
    layer: nn.Module, supernet: Supernet, halves: Collection[Half], *, is_last: bool
) -> nn.Module:
    """A layer, or these halves of it, that also takes packs.

    As the last it computes only what the head sees. In training, or where its family does not say
    how, it does neither.
    """
    family = supernet.family
    layer = _with_halves(layer, family, halves)
    if supernet.model.training or family.after_attention is None:
        return layer
    sees_first_only = is_last and supernet.task_head.reads_first_token
    if "attention" not in halves:
        return tokenwise_for_first_token(layer) if sees_first_only else layer
    head_size = family.head_size(supernet.config)
    parts = BlockParts(layer, family, head_size, family.after_attention)
    return for_first_token(parts) if sees_first_only else for_packs(parts)


def _for_last_token(
    layer: nn.Module, supernet: Supernet, halves: Collection[Half], place: int
) -> nn.Module:
    """A layer, or these halves of it, that gives the last token alone if its family says how."""
    family = supernet.family
    layer = _with_halves(layer, family, halves)
    if "attention" not in halves:
        return tokenwise_for_last_token(layer)
    if family.keys_and_values is None:
        return layer
    return for_last_token(layer, place, family.keys_and_values)


def _with_halves(layer: nn.Module, family: Family, halves: Collection[Half]) -> nn.Module:
    for half in set(HALVES) - set(halves):
        layer = _without(layer, family.halves[half])
    return layer


def _without(layer: nn.Module, half: BlockHalf) -> nn.Module:
    """A layer that leaves out one half: the other's outcome passes it as it is."""
    twin = _shallow_copy(layer)
    twin._modules.update({name: StandIn(gives) for name, gives in half.parts.items()})
    return twin


def _headed_at(model: nn.Module, family: Family, at: torch.Tensor) -> nn.Module:
    """A language model whose head sees the hidden states of these places alone."""
    (head,) = {each.logits for each in family.task_heads if isinstance(model, each.model_class)}
    root = _shallow_copy(model)
    parent, _, name = head.rpartition(".")
    owner = _own(root, parent) if parent else root
    owner._modules[name] = at_places(model.get_submodule(head), at)
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
