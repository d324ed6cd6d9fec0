"""Subnets as graphs, which run without torch and without anything of ours."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.weights import SubnetCard
from elasticnas.search.cost import cost_report
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.contracts.checkpoints import some_subnets
from elasticnas.supernet.contracts.checkpoints import write_checkpoint as write_family
from elasticnas.supernet.contracts.families import exported, logits, padded, stock_model
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.export import onnx_folder
from elasticnas.supernet.export.onnx_folder import FILE, write_onnx_folder
from elasticnas.supernet.families import ENCODERS
from elasticnas.supernet.families.family import Family
from elasticnas.supernet.families.llama import LLAMA
from elasticnas.supernet.measuring.examples import Batch
from elasticnas.supernet.operations import OPERATIONS
from elasticnas.supernet.supernet import Supernet
from tests.supernet.heterogeneous import drawn, with_operation, write_heterogeneous
from tests.supernet.test_spans import write_asked

needs_onnx = pytest.mark.skipif(
    any(find_spec(package) is None for package in (*onnx_folder.PACKAGES, "onnxruntime")),
    reason="onnx, onnxscript and onnxruntime are not installed",
)

CARD = SubnetCard(
    supernet_name="tiny",
    dataset_name="words",
    dataset_rows=4,
    search_id="s",
    number=1,
    metrics={},
    cost={},
    max_length=16,
)


def graph(supernet: Supernet, subnet: SubnetConfig, folder: Path) -> Any:
    """The file of a subnet, read."""
    import onnx

    folder.mkdir()
    write_onnx_folder(supernet, subnet, CARD, folder)
    return onnx.load(folder / FILE)


def run(file: Path, batch: Batch) -> list[np.ndarray]:
    """What ONNX Runtime gives for a batch."""
    from onnxruntime import InferenceSession

    session = InferenceSession(file)
    ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"].flatten(1).long()
    every = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    return session.run(None, {each.name: every[each.name].numpy() for each in session.get_inputs()})


def short(batch: Batch) -> Batch:
    """One row of it, of fewer tokens than any graph was traced with more of."""
    inputs = {
        "input_ids": batch.inputs["input_ids"][:1, :7],
        "attention_mask": batch.inputs["attention_mask"][:1, ..., :7],
    }
    return Batch(inputs, batch.rows[:1])


def check(supernet: Supernet, subnet: SubnetConfig, file: Path) -> None:
    """A file gives what is sliced, for rows and tokens of any number."""
    for batch in (padded(), short(padded())):
        (found,) = run(file, batch)
        expected = logits(supernet, subnet, batch)
        torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-5)


def numbers(proto: Any) -> int:
    """The weights in a file: what is not a number of the tracer's own."""
    weights = [each for each in proto.graph.initializer if each.name.startswith("model.")]
    return sum(int(np.prod(each.dims)) for each in weights if each.data_type == 1)


@pytest.fixture(scope="module")
def heterogeneous(tmp_path_factory: pytest.TempPathFactory) -> Supernet:
    return read_supernet(write_heterogeneous(tmp_path_factory.mktemp("heterogeneous")))


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_runs_in_onnx_runtime_as_it_is_sliced(
    heterogeneous: Supernet, operation: str, tmp_path: Path
) -> None:
    """And as the carried file of code computes it; of no other operation is there a tensor."""
    subnet = with_operation(heterogeneous, operation)
    logits(heterogeneous, subnet, padded())  # has whatever is kept between calls
    proto = graph(heterogeneous, subnet, tmp_path / "graph")
    check(heterogeneous, subnet, tmp_path / "graph" / FILE)
    logits(heterogeneous, subnet, padded())  # and finds it as it was before the tracing
    carried = stock_model(heterogeneous, exported(heterogeneous, subnet, tmp_path / operation))
    mask = padded().inputs["attention_mask"].flatten(1).long()
    with torch.inference_mode():
        expected = carried(input_ids=padded().inputs["input_ids"], attention_mask=mask).logits
    (found,) = run(tmp_path / "graph" / FILE, padded())
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-5)
    names = [each.name for each in proto.graph.initializer]
    assert {name.split(".")[6] for name in names if ".operations." in name} <= {operation}
    cost = cost_report(cost_model(heterogeneous), subnet, 16)
    assert numbers(proto) <= cost.params


@needs_onnx
@pytest.mark.slow
def test_layers_that_differ_run_too_and_the_file_is_the_same_every_time(
    heterogeneous: Supernet, tmp_path: Path
) -> None:
    for number, subnet in enumerate(drawn(heterogeneous, 3)[1:]):
        graph(heterogeneous, subnet, tmp_path / str(number))
        check(heterogeneous, subnet, tmp_path / str(number) / FILE)
    graph(heterogeneous, subnet, tmp_path / "again")
    first, again = (tmp_path / name / FILE for name in (str(number), "again"))
    assert first.read_bytes() == again.read_bytes()
    assert b"site-packages" not in again.read_bytes()


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("family", ENCODERS, ids=lambda each: each.model_type)
def test_subnets_of_every_encoder_run(family: Family, tmp_path: Path) -> None:
    """Adapters merged, heads and neurons cut, halves of blocks left out."""
    supernet = read_supernet(write_family(tmp_path / "checkpoint", family))
    for number, subnet in enumerate(some_subnets(supernet.space, 2)):
        graph(supernet, subnet, tmp_path / str(number))
        check(supernet, subnet, tmp_path / str(number) / FILE)


@needs_onnx
@pytest.mark.slow
def test_question_answering_gives_starts_and_ends(tmp_path: Path) -> None:
    supernet = read_supernet(write_asked(tmp_path / "checkpoint", ENCODERS[0]))
    subnet = supernet.space.minimal
    graph(supernet, subnet, tmp_path / "graph")
    found = np.stack(run(tmp_path / "graph" / FILE, padded()), axis=-1)
    is_token = padded().inputs["attention_mask"].flatten(1)
    expected = logits(supernet, subnet, padded())[is_token]
    torch.testing.assert_close(torch.from_numpy(found)[is_token], expected, rtol=0, atol=1e-5)


@needs_onnx
@pytest.mark.slow
def test_the_lines_of_the_card_run_where_neither_torch_nor_anything_of_ours_is(
    heterogeneous: Supernet, tmp_path: Path
) -> None:
    subnet = with_operation(heterogeneous, "dct")
    folder = tmp_path / "graph"
    graph(heterogeneous, subnet, folder)
    readme = (folder / "README.md").read_text()
    assert "library_name: onnx" in readme
    (code,) = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    lines = code.replace("path/to/this/folder", str(folder)).replace("a text", "w1 w2 w3")
    without = "import sys; sys.modules['elasticnas'] = sys.modules['torch'] = None\n"
    ran = subprocess.run(
        [sys.executable, "-c", f"{without}{lines}print(found[0].tolist())"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert np.array(json.loads(ran.stdout)).shape == (2, 2)


def test_a_language_model_is_refused(tmp_path: Path) -> None:
    supernet = read_supernet(write_family(tmp_path / "checkpoint", LLAMA))
    with pytest.raises(InputError, match="language model of type llama") as refused:
        write_onnx_folder(supernet, supernet.space.maximal, CARD, tmp_path)
    assert refused.value.field == "format"
    assert not (tmp_path / FILE).exists()
