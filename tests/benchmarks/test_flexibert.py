"""The question whether layers that differ are worth anything, on a small super-network."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from benchmarks.flexibert import Difference, Subject, answer, compare, homogeneous, subject_of
from elasticnas.supernet.forward.activation import activate
from tests.supernet.heterogeneous import drawn, write_heterogeneous

ROWS = 24


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp("benchmark")
    checkpoint = write_heterogeneous(folder / "net", one_hidden=True)
    rows = [
        {"text": " ".join(f"w{1 + (row * word) % 9}" for word in range(1, 3 + row % 7))}
        for row in range(ROWS)
    ]
    file = folder / "rows.jsonl"
    lines = (json.dumps(each | {"label": place % 2}) for place, each in enumerate(rows))
    file.write_text("\n".join(lines))
    return subject_of(checkpoint, file, "text", "label")


def test_rows_are_told_in_their_order_though_batches_are_sorted(subject: Subject) -> None:
    measure = subject.on()
    for subnet in drawn(subject.supernet, 3):
        expected = []
        for row in range(ROWS):
            batch = subject.examples.batch([row])
            with torch.inference_mode():
                found = activate(subject.supernet, subnet).logits(batch.inputs).argmax()
            expected.append(int(found) == subject.examples.labels[row])
        assert measure.right(subnet).tolist() == expected
        assert subject.on(range(0, ROWS, 2)).right(subnet).tolist() == expected[::2]


def test_homogeneous_subnets_have_layers_that_are_alike(subject: Subject) -> None:
    found = homogeneous(subject.supernet.space)
    assert len(set(found)) == len(found)
    for subnet in found:
        for part in {each.part for each in subject.supernet.space.dimensions}:
            chosen = {
                subnet[each.name]
                for each in subject.supernet.space.dimensions
                if each.part == part and subnet.meets(each.active_when)
            }
            assert len(chosen) <= 1, part


def test_the_difference_counts_rows_on_which_two_subnets_differ() -> None:
    mine = np.array([True] * 6 + [False] * 4)
    other = np.array([True] * 5 + [False] * 5)
    found = Difference.of(1.0, mine, other)
    assert found.points == pytest.approx(0.1)
    assert found.error == pytest.approx(np.std([1] + [0] * 9, ddof=1) / np.sqrt(10))
    assert Difference.of(1.0, mine, mine).error == 0


@pytest.mark.parametrize(("points", "said"), [(3, "yes"), (0, "no gain")])
def test_the_answer_is_what_the_figures_say(
    capsys: pytest.CaptureFixture[str], points: int, said: str
) -> None:
    rows = np.arange(10)
    answer("title", [Difference.of(1.0, rows < 5 + points, rows < 5)])
    assert said in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.slow
def test_a_search_is_answered_both_ways(
    subject: Subject, capsys: pytest.CaptureFixture[str]
) -> None:
    compare(subject, 8, "pareto")
    said = capsys.readouterr().out
    assert "chosen on the rows to verify on" in said
    assert "chosen on the rows of the search" in said
    assert said.count("better by more than a standard error") == 2
