"""First-order scores: what the loss would change by if a unit were left out.

Every unit is multiplied by a mask of 1, whose gradient is read off a backward pass: its magnitude
(Taylor: Michel et al. 2019, "Are Sixteen Heads Really Better than One?", section 4.1) or its square
(Kwon et al. 2022, "A Fast Post-Training Pruning Framework for Transformers", section 4.1, the
diagonal of the Fisher matrix). Parameters have no gradients: what is computed are those of hidden
states.

ShortGPT (Men et al. 2024, section 3.2) scores whole blocks by what they change: 1 - the cosine of
the hidden states before and after, averaged over tokens. Halves of blocks, attention and FFN, are
scored alike. The same pass gives all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from elasticnas.api_schemas.spaces import HALVES, Half
from elasticnas.supernet.elasticity.axes import Axis, axes_of
from elasticnas.supernet.families.family import BlockHalf
from elasticnas.supernet.plan import ModelShape


class FirstOrderScores:
    """Sums over the rows that a ``model`` has run, in float64 on the CPU.

    ``units`` are, of every axis (units,), the sums of the gradients' magnitudes to the ``power``: 1
    for Taylor, 2 for Fisher.
    """

    def __init__(self, model: PreTrainedModel, shape: ModelShape, power: int) -> None:
        self._model = model
        self._shape = shape
        self._power = power
        self._counts = axes_of(shape)
        self.units = {axis: _zeros(count) for axis, count in self._counts.items()}
        self._changes = _zeros(shape.num_layers)
        self._changes_of_halves = _zeros(shape.num_layers, len(HALVES))
        self._read: dict[tuple[int, Half], torch.Tensor] = {}
        self._tokens = 0

    @property
    def influence(self) -> torch.Tensor:
        """How much every block changes of the hidden states, (blocks,)."""
        return self._changes / max(1, self._tokens)

    @property
    def influence_of_halves(self) -> torch.Tensor:
        """How much the halves of every block change of them, (blocks, `HALVES`).

        None of them anything in a family whose blocks run whole only.
        """
        return self._changes_of_halves / max(1, self._tokens)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within it some rows are run, without padding, and losses of theirs are sent back.

        A loss must be the sum over the rows of what each loses: a row's gradient is then its own.
        """
        family = self._shape.family
        hooks = [self._model.get_submodule(family.embeddings).register_forward_hook(_has_gradient)]
        for axis in self.units:
            reader = self._model.get_submodule(family.module(axis.layer, axis.reader))
            hooks.append(reader.register_forward_pre_hook(partial(self._watch, axis)))
        for layer, block in enumerate(self._model.get_submodule(family.layers).children()):
            hooks.append(block.register_forward_hook(partial(self._compare, layer)))
            for half, told in family.halves.items():
                reads, gives = block.get_submodule(told.reads), block.get_submodule(told.output)
                enter = partial(self._enter_half, (layer, half))
                hooks.append(reads.register_forward_pre_hook(enter))
                leave = partial(self._leave_half, (layer, half), told)
                hooks.append(gives.register_forward_hook(leave))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _watch(self, axis: Axis, _: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        """Have the gradient of an axis's masks read off, once it is there."""
        units = given[0]  # (rows, tokens, channels), each multiplied by its unit's mask
        units.register_hook(partial(self._add, axis, units.detach()))  # type: ignore[no-untyped-call]

    def _add(self, axis: Axis, units: torch.Tensor, gradient: torch.Tensor) -> None:
        products = (units.float() * gradient.float()).sum(1)
        of_rows = products.view(len(products), self._counts[axis], -1).sum(-1).double()
        self.units[axis] += of_rows.abs().pow(self._power).sum(0).cpu()

    def _compare(self, layer: int, _: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        before = given[0].detach()
        self._changes[layer] += _change(before, _first(output).detach())
        if layer == 0:
            self._tokens += before[..., 0].numel()

    def _enter_half(self, place: tuple[int, Half], _: nn.Module, given: tuple[Any, ...]) -> None:
        self._read[place] = given[0].detach()

    def _leave_half(
        self, place: tuple[int, Half], told: BlockHalf, _: nn.Module, __: object, output: Any
    ) -> None:
        before, found = self._read.pop(place), _first(output).detach()
        layer, half = place
        after = before + found if told.adds else found
        self._changes_of_halves[layer, HALVES.index(half)] += _change(before, after)

    def state(self) -> dict[str, torch.Tensor]:
        """All sums by name, from which `restore` goes on."""
        named = {axis.dimension: sums for axis, sums in self.units.items()}
        return named | {
            "changes": self._changes,
            "changes_of_halves": self._changes_of_halves,
            "tokens": torch.tensor(self._tokens),
        }

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from the sums of a `state`."""
        self.units = {axis: state[axis.dimension] for axis in self.units}
        self._changes, self._tokens = state["changes"], int(state["tokens"])
        self._changes_of_halves = state["changes_of_halves"]


def _zeros(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.float64)


def _first(output: Any) -> torch.Tensor:
    """The hidden states in what a block or a part of one gives."""
    found: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return found


def _change(before: torch.Tensor, after: torch.Tensor) -> float:
    """1 - the cosine of what a token was and is, summed over the tokens (rows, tokens, hidden)."""
    cosines = nn.functional.cosine_similarity(before.float(), after.float(), dim=-1)
    return float((1 - cosines.double()).sum())


def _has_gradient(_module: nn.Module, _given: object, output: torch.Tensor) -> torch.Tensor:
    """Have gradients reach back to the embeddings, though no parameter has one."""
    return output.requires_grad_(True)
