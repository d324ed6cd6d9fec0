"""The batches of a dataset that suit a super-network where it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import torch

from elasticnas.supernet.forward.packs import Packing, has_kernel
from elasticnas.supernet.measuring.batch_sizes import pack_sizes
from elasticnas.supernet.measuring.examples import (
    CPU_BATCH_COST,
    Batch,
    Examples,
    Inputs,
    TokenizedExamples,
)
from elasticnas.supernet.measuring.trees import TreeExamples
from elasticnas.supernet.supernet import Supernet

ACCELERATOR_BATCH_COST = 4096
"""What a batch costs on an accelerator besides its tokens, in tokens: the time to start some
hundred kernels, in which it could do far more."""


def batches_for(supernet: Supernet, examples: Examples, token_budget: int) -> list[Batch]:
    """All rows on the super-network's device, in batches of at most ``token_budget`` tokens.

    Packs, where attention has a kernel for them in the super-network's dtype; elsewhere rows of
    like lengths, padded to the longest.
    """
    device, dtype, family = supernet.model.device, supernet.model.dtype, supernet.family
    takes_packs = family.takes_packs and has_kernel(
        device, dtype, family.head_size(supernet.config)
    )
    batches: Sequence[Batch]
    if isinstance(examples, TokenizedExamples) and takes_packs:
        batches = packs(supernet, examples, token_budget)
    else:
        if takes_packs and isinstance(examples, TreeExamples) and examples.are_paths:
            examples = replace(examples, packed=True)
        cost = CPU_BATCH_COST if device.type == "cpu" else ACCELERATOR_BATCH_COST
        batches = examples.batches(token_budget, cost)
    return [batch.to(device) for batch in batches]


def packs(supernet: Supernet, examples: TokenizedExamples, token_budget: int) -> list[Batch]:
    """All rows in order, end to end in as few packs as whole rows allow, on the CPU.

    Only a row that is longer by itself makes a pack longer than ``token_budget``.
    """
    rows = iter(range(len(examples)))
    sizes = pack_sizes([len(tokens) for tokens in examples.token_ids], token_budget)
    return [_pack(supernet, examples, list(islice(rows, size))) for size in sizes]


def _pack(supernet: Supernet, examples: TokenizedExamples, rows: Sequence[int]) -> Batch:
    """A padded batch with the padding taken out, and each row's positions put in."""
    padded = examples.batch(rows)
    token_ids = padded.inputs["input_ids"]
    lengths = tuple(len(examples.token_ids[row]) for row in rows)
    is_token = torch.arange(token_ids.shape[1]) < torch.tensor(lengths)[:, None]
    positions = supernet.family.position_ids(token_ids, supernet.config)
    inputs: Inputs = {
        "input_ids": token_ids[is_token].unsqueeze(0),
        "position_ids": positions[is_token].unsqueeze(0),
        "packing": Packing.of(lengths),
    }
    if (type_ids := padded.inputs.get("token_type_ids")) is not None:
        inputs["token_type_ids"] = type_ids[is_token].unsqueeze(0)
    return Batch(inputs, padded.rows)
