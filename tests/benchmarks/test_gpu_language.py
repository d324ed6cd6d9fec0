"""The GPU's benchmark of language models, as far as a processor can tell."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu_language import main, needed_flop, questions, random_supernet, text_windows
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.measuring.trees import TreeExamples

SMALL = {"device": "cpu", "dtype": "float32", "hidden": 64, "layers": 2}


def test_the_needed_flop_are_those_that_torchs_counter_sees():
    """Of windows of one token, where no token is masked; the adapters are counted apart."""
    supernet = random_supernet(argparse.Namespace(**SMALL))
    supernet.model.set_attn_implementation("eager")  # the counter sees both products
    items = text_windows(5, supernet.config.vocab_size, length=1)
    made = TreeExamples.of(items, np.zeros(5), pad_id=0, shares=False)
    (batch,) = made.batches(100)
    adapters = sum(each.a.numel() + each.b.numel() for each in supernet.adapters.values())
    with torch.inference_mode():
        active = activate(supernet, supernet.space.maximal)
        with FlopCounterMode(display=False) as counter:
            active.logits(batch.inputs, at=batch.at)
    assert needed_flop(supernet, made) + 2 * 5 * adapters == counter.get_total_flops()


def test_a_tree_needs_less_than_its_answers_alone():
    supernet = random_supernet(argparse.Namespace(**SMALL))
    items = questions(4, supernet.config.vocab_size)
    shared, alone = (
        TreeExamples.of(items, np.zeros(4), pad_id=0, shares=shares) for shares in (True, False)
    )
    assert needed_flop(supernet, shared) < needed_flop(supernet, alone)


def test_it_runs_small_without_a_gpu(monkeypatch, capsys):
    given = [f"--{name}={value}" for name, value in SMALL.items()]
    more = ("--rows=2", "--window=8", "--new-tokens=2")
    monkeypatch.setattr("sys.argv", ["benchmarks.gpu_language", *given, *more])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if "%" in line] == ["choices,", "choices,", "windows"]
    assert lines[-1].startswith("writing 2 tokens behind 2 prompts")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device to measure here")
def test_without_cuda_it_says_so_and_ends_with_status_2(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks.gpu_language"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
