"""The tensors of a subnet, each made when it is written: no second model is ever in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from elasticnas.api_schemas.problems import InputError
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.tensor_names import stored_tensors
from elasticnas.supernet.forward.activation import active_adapter, active_halves, is_active, merged
from elasticnas.supernet.supernet import Supernet


@dataclass(frozen=True)
class LazyTensor:
    """What ``make`` gives, contiguous, has this ``shape`` and ``dtype``."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    make: Callable[[], torch.Tensor]


def lazy(tensor: torch.Tensor) -> LazyTensor:
    """A tensor that is there already."""
    return LazyTensor(tuple(tensor.shape), tensor.dtype, lambda: tensor.detach().contiguous())


def subnet_tensors(supernet: Supernet, subnet: SubnetConfig) -> dict[str, LazyTensor]:
    """What a file holds of a subnet: adapters merged, blocks counted from 0, dtypes as stored."""
    family, halves = supernet.family, active_halves(supernet, subnet)
    places = {block: place for place, block in enumerate(halves)}
    return {
        family.renumbered(name, places): _sliced(supernet, subnet, name, tensor)
        for name, tensor in stored_tensors(supernet.model).items()
        if is_active(family, name, halves) and supernet.plan.has(name, subnet)
    }


def _sliced(
    supernet: Supernet, subnet: SubnetConfig, name: str, tensor: torch.Tensor
) -> LazyTensor:
    prefix = (
        supernet.sliced(name, subnet)
        if name in supernet.refits
        else supernet.plan.slice(name, tensor, subnet)
    )
    module, _, part = name.rpartition(".")
    adapter = active_adapter(supernet, module, subnet) if part == "weight" else None
    dtype = supernet.dtypes.get(name, tensor.dtype)

    def make() -> torch.Tensor:
        with torch.inference_mode():
            if adapter is None:
                return prefix.to(dtype).contiguous()
            whole = merged(prefix, adapter).to(dtype).contiguous()
        if not torch.isfinite(whole).all():
            raise _too_large(name, dtype)
        return whole

    return LazyTensor(tuple(prefix.shape), dtype, make)


def _too_large(name: str, dtype: torch.dtype) -> InputError:
    return InputError(
        f"{name} with its adapter in it has numbers that {str(dtype).removeprefix('torch.')} "
        "cannot hold",
        field="format",
        value="transformers",
        remedy="ask for format=peft, or register the base model in bfloat16 or float32",
    )
