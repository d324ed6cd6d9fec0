"""What reading a checkpoint and moving it take of memory: mapped files, each weight once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from elasticnas.supernet.checkpoint.base_model import classifier_for_training
from elasticnas.supernet.checkpoint.mapping import SMALLEST, looked_at, region_of
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.checkpoint.tensors import read_tensors
from elasticnas.supernet.contracts.checkpoints import VOCABULARY
from elasticnas.supernet.contracts.checkpoints import write_checkpoint as write_any
from elasticnas.supernet.contracts.families import logits, padded, stock_logits
from elasticnas.supernet.families.llama import LLAMA
from tests.supernet.tiny import write_checkpoint

CPU = torch.device("cpu")
reads_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which only Linux has")


def stored_as(folder: Path, dtype: torch.dtype, file: str = "base/model.safetensors") -> Path:
    """The checkpoint with the tensors of a file in another dtype."""
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(folder / file).items()}
    save_file(tensors, folder / file, metadata={"format": "pt"})
    return folder


@reads_proc
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("is_pickle", [False, True])
def test_a_models_parameters_are_its_files_pages_in_its_files_dtype(
    tmp_path: Path, dtype, is_pickle
):
    folder = stored_as(write_checkpoint(tmp_path), dtype)
    file = folder / "base" / "model.safetensors"
    if is_pickle:
        torch.save(load_file(file), file := folder / "base" / "pytorch_model.bin")
        (folder / "base" / "model.safetensors").unlink()
    supernet = read_supernet(folder).to(CPU, dtype)
    for name, parameter in supernet.model.named_parameters():
        assert parameter.dtype is dtype
        if name not in supernet.head_tensors:
            region = region_of(parameter)
            assert region is not None
            assert region.file == file


def test_adapters_are_in_float32_whatever_their_file_is_in(tmp_path: Path):
    folder = stored_as(
        write_checkpoint(tmp_path), torch.bfloat16, "adapter/adapter_model.safetensors"
    )
    adapters = read_supernet(folder).to(CPU, torch.bfloat16).adapters.values()
    assert {part.dtype for each in adapters for part in (each.a, each.b)} == {torch.float32}


@reads_proc
def test_reading_leaves_no_tensor_in_memory(tmp_path: Path):
    """Though every number is looked at: a tensor of 16 MiB at a time."""
    size = 2**23
    save_file({f"t{i}": torch.ones(size, dtype=torch.bfloat16) for i in range(8)}, tmp_path / "w")
    (tmp_path / "w").rename(tmp_path / "model.safetensors")
    before = resident_bytes()
    tensors = read_tensors(tmp_path, "model", label="base")
    assert sum(tensor.nbytes for tensor in tensors.values()) == 16 * size
    assert resident_bytes() - before < 4 * size
    assert all(bool((tensor == 1).all()) for tensor in tensors.values())


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@reads_proc
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_look_at_a_mapped_tensor_leaves_nothing_of_it_in_memory(tmp_path: Path, dtype):
    tensors = {f"t{i}": torch.randn(1024 + i, 1025).to(dtype) for i in range(16)}
    save_file(tensors, tmp_path / "model.safetensors")
    read = read_tensors(tmp_path, "model", label="base")
    before = resident_bytes()
    for name, tensor in read.items():
        with looked_at(tensor) as numbers:
            assert numbers.data_ptr() != tensor.data_ptr()
            assert torch.equal(numbers, tensors[name])
    assert resident_bytes() - before < 4 * tensors["t0"].nbytes


@reads_proc
def test_what_is_not_mapped_or_whose_file_has_gone_is_looked_at_as_it_is(tmp_path: Path):
    size = SMALLEST // 4
    for file in ("model.safetensors", "other"):
        save_file({"t": torch.ones(size), "small": torch.ones(3)}, tmp_path / file)
    read = read_tensors(tmp_path, "model", label="base")
    (tmp_path / "other").rename(tmp_path / "model.safetensors")
    own = torch.ones(size)
    for tensor in (own, own.view(2, -1).T, read["t"], read["small"]):
        with looked_at(tensor) as numbers:
            assert numbers is tensor
            assert bool((numbers == 1).all())


def test_what_was_written_to_is_looked_at_as_it_is_now(tmp_path: Path):
    save_file({"t": torch.ones(SMALLEST // 4)}, tmp_path / "model.safetensors")
    weight = torch.nn.Parameter(read_tensors(tmp_path, "model", label="base")["t"])
    with torch.no_grad():
        weight[5:7] = 0
    with looked_at(weight) as numbers:
        assert torch.count_nonzero(numbers) == len(weight) - 2


def test_what_is_done_to_a_tensor_does_not_reach_its_file(tmp_path: Path):
    folder = write_checkpoint(tmp_path)
    before = (folder / "base" / "model.safetensors").read_bytes()
    for model in (
        read_supernet(folder).model,
        classifier_for_training(folder / "base", 2, None).model,
    ):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(1)
    assert (folder / "base" / "model.safetensors").read_bytes() == before


def test_a_pickle_from_before_archives_is_read_whole(tmp_path: Path):
    tensors = {"a": torch.arange(4.0), "b": torch.ones(2, dtype=torch.float16)}
    torch.save(tensors, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    found = read_tensors(tmp_path, "model", label="base")
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("is_tied", [False, True])
def test_in_its_files_dtype_a_model_gives_the_stock_models_bits(tmp_path: Path, dtype, is_tied):
    """Rotary frequencies stay in float32, as where Transformers loads the folder."""
    folder = write_any(tmp_path, LLAMA, adapted=False, tie_word_embeddings=is_tied)
    supernet = read_supernet(stored_as(folder, dtype)).to(CPU, dtype)
    stock = transformers.AutoModelForCausalLM.from_pretrained(folder / "base", dtype=dtype)
    found = logits(supernet, supernet.space.maximal, padded(VOCABULARY))
    assert found.dtype is dtype
    assert torch.equal(found, stock_logits(stock, padded(VOCABULARY)))


@pytest.mark.parametrize("is_tied", [False, True])
def test_in_another_dtype_every_weight_is_the_files_number(tmp_path: Path, is_tied):
    folder = stored_as(
        write_any(tmp_path, LLAMA, adapted=False, tie_word_embeddings=is_tied), torch.float16
    )
    supernet = read_supernet(folder).to(CPU, torch.float32)
    stored = load_file(folder / "base" / "model.safetensors")
    for name, tensor in supernet.model.named_parameters():
        assert tensor.dtype is torch.float32
        assert torch.equal(tensor, stored[name].float())
    head = supernet.model.get_parameter("lm_head.weight")
    assert (head is supernet.model.get_parameter("model.embed_tokens.weight")) == is_tied
