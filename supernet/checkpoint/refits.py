"""Weights that were refitted for widths of their own: ``refit.safetensors`` in a checkpoint.

Of a linear layer that loses inputs the prefix of its weight is one choice of matrix, and the least
squares solution (`elasticity.refit`) a better one. The file has it for each width that a search
space cuts the layer to: ``<module>.weight.<columns>`` (outputs, columns).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from elasticnas.api_schemas.problems import InputError
from elasticnas.search.space import SearchSpace
from elasticnas.supernet.checkpoint.tensors import read_tensors
from elasticnas.supernet.plan import ModelShape, SlicingPlan

STEM = "refit"
REFIT_FILE = f"{STEM}.safetensors"

Refits = Mapping[str, Mapping[int, torch.Tensor]]
"""The matrices of a weight by its name, and by how many of its columns they stand for."""


def write_refits(refits: Refits, folder: Path) -> None:
    """Write the file into a checkpoint's folder."""
    named = {
        f"{name}.{columns}": matrix.contiguous()
        for name, matrices in refits.items()
        for columns, matrix in matrices.items()
    }
    save_file(named, folder / REFIT_FILE)


def read_refits(
    folder: Path, shape: ModelShape, space: SearchSpace, plan: SlicingPlan
) -> dict[str, dict[int, torch.Tensor]]:
    """What the folder's file holds; nothing where there is none.

    Raises:
        InputError: a matrix is for no weight that the space cuts the columns of alone, or for none
            of its widths, or the layer has an adapter.
    """
    if not (folder / REFIT_FILE).is_file():
        return {}
    found: dict[str, dict[int, torch.Tensor]] = {}
    allowed = _allowed(shape, space, plan)
    for key, matrix in read_tensors(folder, STEM, label="checkpoint").items():
        name, _, columns = key.rpartition(".")
        if matrix.shape not in allowed.get(name, ()) or str(matrix.shape[-1]) != columns:
            raise InputError(
                "the search space cuts no weight to such a matrix",
                field=f"{REFIT_FILE}/{key}",
                value=tuple(matrix.shape),
                remedy="derive the super-network again, or take the file out",
            )
        found.setdefault(name, {})[int(columns)] = matrix
    return found


def _allowed(
    shape: ModelShape, space: SearchSpace, plan: SlicingPlan
) -> dict[str, Collection[tuple[int, ...]]]:
    """The shapes that each weight may be refitted to."""
    amounts = {each.name: each.amounts or () for each in space.dimensions}
    found: dict[str, Collection[tuple[int, ...]]] = {}
    for name, cuts in plan.by_tensor.items():
        module, _, part = name.rpartition(".")
        is_alone = [(cut.axis, cut.when) for cut in cuts] == [(1, ())]
        if part == "weight" and is_alone and module not in shape.adapted:
            rows, unit = shape.shapes[name][0], cuts[0].unit
            found[name] = {(rows, unit * each) for each in amounts[cuts[0].dimension]}
    return found
