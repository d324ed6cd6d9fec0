"""Ordered weight transfer: a subnet takes over what another subnet of its super-network has learnt.

Which tensors and how far is `search.overlap`'s to say, by which subnets are compared; here the
same is done to the tensors. What a subnet does not find stays as the super-network has it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import Condition
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.cost_model import ways
from elasticnas.supernet.extraction import Extracted
from elasticnas.supernet.supernet import Supernet


def transfer(
    supernet: Supernet,
    own: Extracted,
    subnet: SubnetConfig,
    trained: Mapping[str, torch.Tensor],
    of: SubnetConfig,
    layers: int,
) -> int:
    """Give the subnet, in its ``own`` tensors, what the subnet ``of`` has learnt: ``trained``.

    Of the first ``layers`` layers and of what belongs to none. Both subnets are of ``supernet``.
    Returns how many numbers were transferred.

    Raises:
        InputError: a tensor is not there, or of another shape than that subnet's.
    """
    count = 0
    with torch.no_grad():
        for name, tensor in own.tensors.items():
            layer = supernet.family.layer_of(name)
            if layer is not None and layer >= layers:
                continue
            way = _way(supernet, name, subnet)
            if way is None or way != _way(supernet, name, of):
                continue
            found = _of_shape(supernet.plan.slice(name, supernet.tensors[name], of), name, trained)
            common = tuple(slice(min(pair)) for pair in zip(tensor.shape, found.shape, strict=True))
            tensor[common].copy_(found[common])
            count += tensor[common].numel()
    return count


def restore(own: Extracted, trained: Mapping[str, torch.Tensor]) -> None:
    """Give a subnet's ``own`` tensors the values that they had once trained.

    Raises:
        InputError: a tensor is not there, or of another shape.
    """
    with torch.no_grad():
        for name, tensor in own.tensors.items():
            tensor.copy_(_of_shape(tensor, name, trained))


def _way(supernet: Supernet, name: str, subnet: SubnetConfig) -> tuple[Condition, ...] | None:
    """The conditions under which a subnet has a tensor; None where it has not."""
    weight = f"{name.removesuffix('.bias')}.weight"  # by which a bias is counted, too
    found = ways(supernet, weight if weight in supernet.tensors else name)
    return next((way for way in found if subnet.meets(way)), None)


def _of_shape(like: torch.Tensor, name: str, trained: Mapping[str, torch.Tensor]) -> torch.Tensor:
    found = trained.get(name)
    if found is None or found.shape != like.shape:
        raise InputError(
            "the weights that were kept are not those of this subnet",
            field=name,
            value="no such tensor" if found is None else list(found.shape),
            remedy="delete the search, and start it anew",
        )
    return found
