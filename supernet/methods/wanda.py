"""Making a pretrained model sparse with Wanda, a step of Shears's recipe.

Sun et al. 2023, section 3: blocks are pruned from the first to the last, every linear layer of a
block by what it is given while the block is still dense; the next block is then given what the
pruned one gives. Nothing is trained, and what lies outside of the blocks stays dense.

What is saved are the masks, a bit for each weight: from them and the weights follows all else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.training import ShearsSettings, Sparsity
from elasticnas.supernet.checkpoint.sparse_copy import Masks, packed, unpacked, write_sparse_copy
from elasticnas.supernet.families.family import Family
from elasticnas.supernet.measuring.examples import Inputs
from elasticnas.supernet.methods.pretrained import pretrained, training_rows
from elasticnas.supernet.methods.step import StepRun
from elasticnas.supernet.training.calibration import calibration_groups
from elasticnas.supernet.training.streaming import BlockStream
from elasticnas.supernet.training.wanda import kept

MASKS_FILE = "masks.safetensors"
TOKENS = 8192
"""So many tokens at most go through a block at once."""


def sparsify(run: StepRun) -> None:
    """Prune the linear layers of every block, and leave the model otherwise as it was.

    Raises:
        InputError: the model or a setting cannot be used.
        StepStoppedError: the run must stop.
    """
    settings: ShearsSettings = run.settings
    base = pretrained(run.source, run.data)
    stream = BlockStream(base.model, base.family, run.device)
    sparsities = _of_blocks(settings, len(stream))
    rows = training_rows(run.source, run.data, settings, base)
    groups = calibration_groups(
        rows.lengths, settings.calibration_rows, settings.seed, tokens=TOKENS
    )
    batches = [rows.inputs(group) for group in groups]
    pruning = _Pruning(stream, base.family, batches, [stream.embedded(each) for each in batches])
    masks: Masks = {} if run.saved is None else load_file(run.saved / MASKS_FILE)
    for layer, sparsity in enumerate(sparsities):
        is_new = base.family.module(layer, next(iter(base.family.linears))) not in masks
        block, zeros = pruning.advance(layer, sparsity, masks)
        masks |= block
        if is_new:
            run.advance(
                layer + 1,
                len(stream),
                {"zeros": zeros},
                save=partial(_save, masks),
                save_every=1,
            )
    write_sparse_copy(run.source, base.family, masks, run.output)


def _save(masks: Masks, folder: Path) -> None:
    save_file(masks, folder / MASKS_FILE)


def _of_blocks(settings: ShearsSettings, blocks: int) -> Sequence[Sparsity]:
    """How sparse each block is to be."""
    if not isinstance(settings.sparsity, tuple):
        return [settings.sparsity] * blocks
    if len(settings.sparsity) != blocks:
        raise InputError(
            f"the model has {blocks} blocks, the list is for {len(settings.sparsity)}",
            field="sparsity",
            value=settings.sparsity,
            remedy="give one sparsity for all blocks, or as many as there are",
        )
    return settings.sparsity


@dataclass(frozen=True)
class _Pruning:
    """``hidden`` are what the next block is given, for each of the ``batches``."""

    stream: BlockStream
    family: Family
    batches: Sequence[Inputs]
    hidden: list[torch.Tensor]

    def advance(self, layer: int, sparsity: Sparsity, known: Masks) -> tuple[Masks, float]:
        """A block's masks, the ``known`` ones or new ones, and its share of zeros.

        What the pruned block gives is what the next one is given.
        """
        block = self.stream.block(layer)
        linears = {
            self.family.module(layer, role): cast(nn.Linear, block.get_submodule(path))
            for role, path in self.family.linears.items()
        }
        if not all(module in known for module in linears):
            squares = self._squares(layer, block, linears)
            known = {
                module: packed(kept(linear.weight, squares[module], sparsity))
                for module, linear in linears.items()
            }
        zeros = weights = 0
        for module, linear in linears.items():
            mask = unpacked(known[module], linear.in_features).to(linear.weight.device)
            linear.weight = nn.Parameter(linear.weight * mask, requires_grad=False)
            zeros += int((linear.weight == 0).sum())
            weights += linear.weight.numel()
        for number, inputs in enumerate(self.batches):
            self.hidden[number] = self.stream.output(layer, block, inputs, self.hidden[number])
        return {module: known[module] for module in linears}, zeros / weights

    def _squares(
        self, layer: int, block: nn.Module, linears: Mapping[str, nn.Linear]
    ) -> dict[str, torch.Tensor]:
        """The sums of squares of the inputs (inputs,) of the linear layers, over all tokens."""
        sums = {m: linear.weight.new_zeros(linear.in_features) for m, linear in linears.items()}

        def add(module: str, _: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            sums[module] += given[0].flatten(0, -2).square().sum(0)

        hooks = [each.register_forward_pre_hook(partial(add, m)) for m, each in linears.items()]
        for inputs, hidden in zip(self.batches, self.hidden, strict=True):
            self.stream.output(layer, block, inputs, hidden)
        for hook in hooks:
            hook.remove()
        return sums
