"""What a subnet takes over of another's trained weights is what was counted beforehand."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch

from elasticnas.api_schemas.problems import InputError
from elasticnas.search.overlap import Overlap
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.extraction import extract
from elasticnas.supernet.supernet import Supernet
from elasticnas.supernet.weight_transfer import restore, transfer
from tests.supernet.heterogeneous import drawn, write_heterogeneous
from tests.supernet.tiny import with_halves, write_checkpoint


@pytest.fixture(params=["heterogeneous", "one hidden size", "lonas", "distilbert", "halves"])
def supernet(request: pytest.FixtureRequest, tmp_path: Path) -> Supernet:
    folder = tmp_path / "net"
    if request.param == "halves":
        return read_supernet(with_halves(folder))
    if request.param in ("heterogeneous", "one hidden size"):
        one = request.param == "one hidden size"
        return read_supernet(write_heterogeneous(folder, one_hidden=one))
    return read_supernet(
        write_checkpoint(folder, "distilbert" if request.param == "distilbert" else "bert")
    )


def test_as_many_numbers_are_transferred_as_the_search_counts(supernet: Supernet):
    overlap = Overlap(supernet.space, cost_model(supernet))
    subnets = drawn(supernet, 4)
    partial = 0
    for trained, new in product(subnets, subnets):
        learnt = {
            name: torch.full_like(t, 7.0) for name, t in extract(supernet, trained).tensors.items()
        }
        own = extract(supernet, new)
        before = {name: tensor.clone() for name, tensor in own.tensors.items()}
        extents = overlap.extents(trained), overlap.extents(new)
        layers = overlap.layers_alike(*extents)
        count = transfer(supernet, own, new, learnt, trained, layers)
        whole = sum(tensor.numel() for tensor in own.tensors.values())
        assert count / whole == pytest.approx(overlap.share(*extents))
        assert sum(int((t == 7.0).sum()) for t in own.tensors.values()) == count
        for name, tensor in own.tensors.items():
            assert torch.equal(tensor[tensor != 7.0], before[name][tensor != 7.0]), name
        partial += 0 < count < whole
        if trained == new:
            assert count == whole
    assert partial > 4


def test_kept_weights_are_those_of_the_subnet_or_refused(supernet: Supernet):
    maximal, minimal = (
        extract(supernet, each) for each in (supernet.space.maximal, supernet.space.minimal)
    )
    learnt = {name: torch.randn_like(tensor) for name, tensor in minimal.tensors.items()}
    restore(minimal, learnt)
    assert all(torch.equal(tensor, learnt[name]) for name, tensor in minimal.tensors.items())
    with pytest.raises(InputError, match="not those of this subnet"):
        restore(maximal, learnt)
