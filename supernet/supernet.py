"""A super-network in memory: its tensors, its search space and its slicing plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from elasticnas.search.space import SearchSpace, SubnetConfig
from elasticnas.supernet.checkpoint.layout import base_folder
from elasticnas.supernet.checkpoint.refits import Refits
from elasticnas.supernet.families.family import Family, TaskHead
from elasticnas.supernet.plan import LORA_A, LORA_B, Join, ModelShape, SlicingPlan


@dataclass(frozen=True)
class LoraAdapter:
    """The low-rank branch of one linear layer: ``y = W x + scaling * B (A x)``.

    LoRA, Hu et al. 2021, section 4.1. ``a`` has shape (rank, inputs), ``b`` (outputs, rank).
    ``scaling`` is alpha / maximal rank and stays so at every active rank, as in LoNAS, Shears and
    SQFT. ``join`` says how the branch joins its layer's weight.
    """

    a: torch.Tensor
    b: torch.Tensor
    scaling: float
    join: Join = Join.PLAIN


@dataclass(frozen=True)
class Supernet:
    """One set of weights, and all that is needed to take subnets from it.

    ``model`` is the stock model of Transformers that holds the base weights and the head in full;
    ``adapters`` map a linear module's name to its LoRA branch; ``head_tensors`` are the parameters
    of ``model`` that the adapter file brought; ``base_name`` is what it calls its base model;
    ``folder`` is the checkpoint, which need not be there any more once it is read; ``end_tokens``
    are those that a language model's files say its texts end with; ``dtypes`` are those of its
    tensors, which stay what they are when the super-network moves to another dtype; ``refits`` are
    weights that stand for some prefixes of the model's.
    """

    method: str
    family: Family
    model: PreTrainedModel
    adapters: dict[str, LoraAdapter]
    space: SearchSpace
    plan: SlicingPlan
    reference_length: int
    folder: Path
    label_names: tuple[str, ...] | None = None
    head_tensors: tuple[str, ...] = ()
    base_name: str | None = None
    end_tokens: tuple[int, ...] = ()
    dtypes: Mapping[str, torch.dtype] = field(default_factory=dict)
    refits: Refits = field(default_factory=dict)

    @property
    def config(self) -> PretrainedConfig:
        """The Transformers config of the full model."""
        return self.model.config

    @property
    def base_folder(self) -> Path:
        """The folder of the full model's files."""
        return base_folder(self.folder)

    @property
    def task_head(self) -> TaskHead:
        """What the model has behind its blocks."""
        return next(h for h in self.family.task_heads if type(self.model) is h.model_class)

    @property
    def num_labels(self) -> int:
        """Outputs of the head: classes, 1 for regression, a language model's whole vocabulary."""
        return len(self.model.get_parameter(f"{self.task_head.logits}.weight"))

    @property
    def num_layers(self) -> int:
        """Blocks of the full model."""
        return self.family.num_layers(self.config)

    @property
    def shape(self) -> ModelShape:
        """What a search space is laid over."""
        return ModelShape.of(self.family, self.config, self.tensors)

    @cached_property
    def tensors(self) -> dict[str, torch.Tensor]:
        """Every tensor at full size, adapters included, by the names that a plan uses."""
        return named_tensors(self.model, self.adapters)

    def sliced(self, name: str, subnet: SubnetConfig) -> torch.Tensor:
        """What a subnet has of a tensor: its active prefix, a view, or what that is refitted to."""
        prefix = self.plan.slice(name, self.tensors[name], subnet)
        if (refits := self.refits.get(name)) is None:
            return prefix
        return refits.get(prefix.shape[1], prefix)

    def stored_dtype(self, name: str) -> torch.dtype:
        """The dtype in which the checkpoint holds a tensor."""
        return self.dtypes.get(name, self.tensors[name].dtype)

    def has_module(self, name: str) -> bool:
        """Whether the model has a module of this name."""
        return name in self._modules

    @cached_property
    def _modules(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.model.named_modules())

    @cached_property
    def unmerged(self) -> frozenset[str]:
        """The linear modules whose adapters stay beside their weights."""
        beside = (Join.UNMERGED, Join.MASKED_IN_TURN)
        return frozenset(m for m, adapter in self.adapters.items() if adapter.join in beside)

    @cached_property
    def elastic_modules(self) -> tuple[str, ...]:
        """The linear modules that a subnet's weights differ in: cut, adapted, or both."""
        cut = {cut.tensor.rpartition(".")[0] for cut in self.plan.cuts}
        return tuple(sorted(cut | set(self.adapters)))

    def to(self, device: torch.device, dtype: torch.dtype) -> Supernet:
        """This super-network on ``device``, its weights in ``dtype``, which it then computes in.

        A tensor at a time: one that is there and in ``dtype`` already is not copied. The model
        itself moves, so the super-network this was called on must not be used any more. Adapters
        stay in float32: they are small, and are merged before the sum is rounded. So does what
        modules computed for themselves (rotary frequencies), as Transformers keeps it.
        """
        adapters = {
            module: replace(adapter, a=adapter.a.to(device), b=adapter.b.to(device))
            for module, adapter in self.adapters.items()
        }
        refits = {
            name: {columns: each.to(device, dtype) for columns, each in matrices.items()}
            for name, matrices in self.refits.items()
        }
        model = moved(self.model, device, dtype)
        return replace(self, model=model, adapters=adapters, refits=refits)


def moved(model: PreTrainedModel, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    """A model, itself, on ``device`` and in ``dtype``; see `Supernet.to`."""
    computed = _computed_buffers(model)
    there: PreTrainedModel = nn.Module.to(model, device=device, dtype=dtype)
    for owner, name, buffer in computed:
        setattr(owner, name, buffer.to(device))
    return there


def with_own_weights(model: PreTrainedModel) -> PreTrainedModel:
    """A model, itself, ready to be trained: what was read is the file's own memory, so no more."""
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
        parameter.requires_grad_(True)
    return model


def _computed_buffers(model: PreTrainedModel) -> list[tuple[nn.Module, str, torch.Tensor]]:
    """The buffers that no file holds, each with its module and its name there."""
    stored = model.state_dict()
    return [
        (model.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2], buffer)
        for path, buffer in model.named_buffers(remove_duplicate=False)
        if path not in stored
    ]


def named_tensors(
    model: PreTrainedModel, adapters: Mapping[str, LoraAdapter]
) -> dict[str, torch.Tensor]:
    """A model's parameters and its adapters' by the names that a plan uses.

    A tied weight is there under both of its names.
    """
    named: dict[str, torch.Tensor] = dict(model.named_parameters(remove_duplicate=False))
    for module, adapter in adapters.items():
        named[f"{module}.{LORA_A}"] = adapter.a
        named[f"{module}.{LORA_B}"] = adapter.b
    return named
