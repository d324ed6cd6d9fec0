"""The GPU's benchmark, as far as a processor can tell."""

from __future__ import annotations

import statistics

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu import lengths_like, main, needed_flop, random_rows, random_supernet
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.measuring.batching import packs


def run(monkeypatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks.gpu", *arguments])
    main()


def test_lengths_are_distributed_as_those_of_the_task():
    """Their means, as counted on the validation rows themselves."""
    for task, mean in (("SST-2", 25.2), ("MNLI", 39.1), ("RTE", 64.6)):
        assert statistics.mean(lengths_like(task, 10_000)) == pytest.approx(mean, rel=0.01)


def test_the_needed_flop_are_those_that_torchs_counter_sees():
    supernet = random_supernet(2, torch.device("cpu"), torch.float32)
    lengths = [3, 9, 4]
    (pack,) = packs(supernet, random_rows(lengths, 1000), 100)
    for subnet in (supernet.space.maximal, supernet.space.minimal):
        with torch.inference_mode():
            active = activate(supernet, subnet)
            with FlopCounterMode(display=False) as counter:
                active.logits(pack.inputs)
        assert needed_flop(supernet, subnet, lengths) == counter.get_total_flops()


def test_it_runs_small_without_a_gpu(monkeypatch, capsys):
    run(
        monkeypatch,
        *("--device", "cpu", "--dtype", "float32", "--rows", "4", "--layers", "2"),
        *("--random", "1", "--runs", "1"),
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines if line.startswith(("SST-2", "MNLI"))] == [
        [task, way] for task in ("SST-2", "MNLI") for way in ("packed", "padded")
    ]
    assert lines[-1] == "the bars are for GPUs: neither was tried"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device to measure here")
def test_without_cuda_it_says_so_and_ends_with_status_2(monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch)
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
