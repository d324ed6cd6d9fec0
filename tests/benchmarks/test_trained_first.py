"""Searches that train first, as the benchmark runs them: on a small super-network."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import pytest

from benchmarks.flexibert import subject_of
from benchmarks.trained_first import HALVING, WAYS, search, trainings
from tests.supernet.heterogeneous import write_heterogeneous


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_search_of_every_way_runs_to_its_end(way: str, tmp_path: Path) -> None:
    rows = [
        {"text": " ".join(f"w{1 + (row * word) % 9}" for word in range(1, 3 + row % 7))}
        for row in range(24)
    ]
    file = tmp_path / "rows.jsonl"
    lines = (json.dumps(each | {"label": place % 2}) for place, each in enumerate(rows))
    file.write_text("\n".join(lines))
    subject = subject_of(
        write_heterogeneous(tmp_path / "net", one_hidden=True), file, "text", "label"
    )
    options = argparse.Namespace(
        train=file, text_column="text", label_column="label", rows=20, steps=9, batch_size=4
    )
    (tmp_path / "trained").mkdir()
    training = trainings(subject, options)
    found = search(subject, training, way, tmp_path / "trained", seed=0, evaluations=21)
    found.run(math.inf)
    assert found.loop.is_over
    assert found.tried == 21
    references = sum(each.proposal.bracket is None for each in found.completed)
    raced = [each for each in found.completed if each.proposal.bracket is not None]
    assert references >= 2
    if "halving" in WAYS[way]:
        assert len(raced) == (found.tried - references) // HALVING.bracket
    else:
        assert len(found.completed) == found.tried
    if way != "both":  # a bracket is told of at its end: in so few none may begin with another's
        assert (found.begun > 0) == found.keeps
