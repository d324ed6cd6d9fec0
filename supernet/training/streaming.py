"""Running a model block by block, so that one block alone is on the device at a time.

A model of 7B needs 28 GB in float32, a block of it less than 1. Whatever is around the blocks (the
embeddings, positions, masks) is computed by the stock model itself, once more for every block, so
nothing here knows how a family makes them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from elasticnas.supernet.families.family import Family
from elasticnas.supernet.forward.blocks import skipped


class _Reached(Exception):  # noqa: N818  it is no error
    """A forward pass has come as far as is wanted."""

    def __init__(self, hidden: torch.Tensor) -> None:
        self.hidden = hidden


class BlockStream:
    """The blocks of a stock ``model``, run one at a time in float32 on ``device``.

    The model itself, but for its blocks, is put into float32 on the CPU.
    """

    def __init__(self, model: PreTrainedModel, family: Family, device: torch.device) -> None:
        self._family = family
        self._device = device
        self._bare = model.get_submodule(family.model)
        self._layers = model.get_submodule(family.layers)
        self._blocks = list(self._layers.children())
        blocks = self._layers._modules
        self._layers.__dict__["_modules"] = {}
        self._bare.float()
        self._layers.__dict__["_modules"] = blocks

    def __len__(self) -> int:
        return len(self._blocks)

    def block(self, layer: int) -> nn.Module:
        """A copy of a block, on the device: the model's own stays as it is."""
        return copy.deepcopy(self._blocks[layer]).to(self._device, torch.float32)

    def embedded(self, inputs: Mapping[str, Any]) -> torch.Tensor:
        """What the first block is given for some rows, (rows, tokens, hidden size), on the CPU."""
        return self._reached(0, lambda hidden, *_, **__: hidden, inputs)

    def output(
        self, layer: int, block: nn.Module, inputs: Mapping[str, Any], hidden: torch.Tensor
    ) -> torch.Tensor:
        """What ``block``, at the place ``layer``, gives for rows and their ``hidden`` states.

        Both (rows, tokens, hidden size) and on the CPU.
        """
        return self._reached(layer, partial(self._run, block, hidden), inputs)

    def _run(
        self, block: nn.Module, hidden: torch.Tensor, _: torch.Tensor, *others: Any, **named: Any
    ) -> torch.Tensor:
        given = _sent((hidden, *others), self._device)
        output: Any = block(*given, **{n: _sent(value, self._device) for n, value in named.items()})
        hidden = output[0] if isinstance(output, tuple) else output
        return hidden.cpu()

    def _reached(
        self, layer: int, run: Callable[..., torch.Tensor], inputs: Mapping[str, Any]
    ) -> torch.Tensor:
        with self._ending_at(layer, run), torch.inference_mode():
            try:
                self._bare(**self._family.called_with(inputs))
            except _Reached as reached:
                return reached.hidden
        raise RuntimeError(f"the model did not run its block {layer}")

    @contextmanager
    def _ending_at(self, layer: int, run: Callable[..., torch.Tensor]) -> Iterator[None]:
        """The model with blocks before ``layer`` left out, and ``run`` in place of that one."""
        whole = self._layers._modules
        ending = copy.copy(self._blocks[layer])
        ending.__dict__["forward"] = partial(_end, run)
        before = [skipped(block, self._family) for block in self._blocks[:layer]]
        blocks = [*before, ending, *self._blocks[layer + 1 :]]
        self._layers.__dict__["_modules"] = {str(n): block for n, block in enumerate(blocks)}
        try:
            yield
        finally:
            self._layers.__dict__["_modules"] = whole


def _end(run: Callable[..., torch.Tensor], *given: Any, **named: Any) -> None:
    raise _Reached(run(*given, **named))


def _sent(value: Any, device: torch.device) -> Any:
    """What a block is given, on ``device``: positions are a tuple of tensors in some models."""
    if isinstance(value, tuple):
        return tuple(_sent(each, device) for each in value)
    return value.to(device) if isinstance(value, torch.Tensor) else value
