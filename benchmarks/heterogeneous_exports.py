"""Whether exported heterogeneous subnets say of every row what the super-network says of it.

    python -m benchmarks.heterogeneous_exports CHECKPOINT VALIDATION.jsonl --text-column sentence
        [--subnets 4]

Each operation throughout, the minimal subnet and ``--subnets`` random ones are written as a folder
with the code that it carries, which Transformers loads, and as an ONNX graph, which ONNX Runtime
runs. Printed are the largest differences of a logit from the sliced evaluation, over all rows, the
rows whose class differs, and the accuracies.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.flexibert import TOKENS, Subject, named, subject_of
from elasticnas.api_schemas.weights import SubnetCard
from elasticnas.search.space import SearchSpace, SubnetConfig
from elasticnas.supernet.contracts.families import stock_logits, stock_model
from elasticnas.supernet.export.onnx_folder import FILE, write_onnx_folder
from elasticnas.supernet.export.transformers_folder import write_transformers_folder
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.measuring.examples import Batch


def tried(space: SearchSpace, count: int) -> Iterator[tuple[str, SubnetConfig]]:
    """Named subnets, and so many random ones."""
    yield from named(space)
    rng = random.Random(0)
    for number in range(count):
        yield f"random {number}", space.decode([rng.randrange(n) for n in space.cardinalities])


def check(subject: Subject, name: str, subnet: SubnetConfig, folder: Path) -> None:
    """Print how far the two exports of a subnet are from its sliced evaluation."""
    card = SubnetCard(
        supernet_name="benchmark",
        dataset_name="validation",
        dataset_rows=len(subject.examples.token_ids),
        search_id="benchmark",
        number=1,
        metrics={},
        cost={},
        max_length=TOKENS,
    )
    carried, graph = folder / "carried", folder / "graph"
    carried.mkdir()
    graph.mkdir()
    write_transformers_folder(subject.supernet, subnet, card, carried)
    write_onnx_folder(subject.supernet, subnet, card, graph)
    loaded, session = stock_model(subject.supernet, carried), _session(graph / FILE)
    active = activate(subject.supernet, subnet)
    sliced, by_code, by_graph = [], [], []
    for batch in subject.on().batches:
        with torch.inference_mode():
            sliced.append(active.logits(batch.inputs).numpy())
        by_code.append(stock_logits(loaded, batch).numpy())
        by_graph.append(_run(session, batch))
    expected = np.concatenate(sliced)
    print(f"{name:<20} {subject.on().accuracy(subnet):.4f}", end="")
    for found in (np.concatenate(by_code), np.concatenate(by_graph)):
        other = int((found.argmax(1) != expected.argmax(1)).sum())
        print(f" {np.abs(found - expected).max():10.1e} {other:5}", end="")
    print(flush=True)


def _session(file: Path) -> Any:
    return import_module("onnxruntime").InferenceSession(file)


def _run(session: Any, batch: Batch) -> np.ndarray:
    ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"].flatten(1).long()
    every = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    (found,) = session.run(
        None, {each.name: every[each.name].numpy() for each in session.get_inputs()}
    )
    return np.asarray(found)


def main() -> None:
    """Export, run and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--subnets", type=int, default=4, help="random ones")
    options = parser.parse_args()
    subject = subject_of(
        options.checkpoint, options.validation, options.text_column, options.label_column
    )
    print(f"{len(subject.examples.token_ids)} rows")
    print(f"{'subnet':<20} {'right':>6} {'carried':>10} {'rows':>5} {'ONNX':>10} {'rows':>5}")
    for name, subnet in tried(subject.supernet.space, options.subnets):
        with tempfile.TemporaryDirectory() as folder:
            check(subject, name, subnet, Path(folder))


if __name__ == "__main__":
    main()
