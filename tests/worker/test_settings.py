from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.problems import InputError
from elasticnas.worker.settings import WorkerSettings


def test_auto_finds_a_device_that_is_there():
    assert torch.zeros(1, device=WorkerSettings(device="auto").torch_device()).item() == 0


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="cuda:99"):
        WorkerSettings(device="cuda:99").torch_device()


@pytest.mark.parametrize("device", ["nose", "cuda:", "cuda:-1", "cpu,cuda"])
def test_what_is_no_device_is_refused_by_its_spelling(device):
    with pytest.raises(ValidationError, match="this is not a device"):
        WorkerSettings(device=device)


def capabilities(monkeypatch: pytest.MonkeyPatch, **present: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, **present})


def test_bfloat16_is_refused_where_the_processor_would_emulate_it(monkeypatch):
    capabilities(monkeypatch, avx512_bf16=False, amx_bf16=False)
    with pytest.raises(InputError, match="AVX512") as refusal:
        WorkerSettings(device="cpu", dtype="bfloat16").precision()
    problem = str(refusal.value)
    assert "dtype" in problem
    assert "bfloat16" in problem
    assert "use float32" in problem
    assert WorkerSettings(device="cpu").precision() is Precision.FLOAT32
    assert WorkerSettings(device="cpu").precisions() == (Precision.FLOAT32,)


@pytest.mark.parametrize(
    ("instructions", "dtype"),
    [
        ("avx512_bf16", "bfloat16"),
        ("amx_bf16", "bfloat16"),
        ("bf16", "bfloat16"),
        ("avx512_fp16", "float16"),
        ("amx_fp16", "float16"),
    ],
)
def test_sixteen_bits_are_for_processors_that_compute_in_them(monkeypatch, instructions, dtype):
    capabilities(monkeypatch, **{instructions: True})
    assert WorkerSettings(device="cpu", dtype=dtype).precision() == dtype
    assert WorkerSettings(device="cpu").precisions() == (Precision.FLOAT32, Precision(dtype))


def test_only_what_nobody_has_set_is_calibrated(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert WorkerSettings(device="cpu").calibrates()
    assert not WorkerSettings(device="cpu", threads=1).calibrates()
    assert not WorkerSettings(device="cpu", token_budget=512).calibrates()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert not WorkerSettings(device="cpu").calibrates()


def test_the_environment_sets_a_worker_up(monkeypatch):
    monkeypatch.setenv("ELASTICNAS_WORKER_TOKEN_BUDGET", "123")
    assert WorkerSettings(device="cpu").tokens_per_batch() == 123


def test_activations_take_a_gibibyte_at_most_on_a_cpu_unless_told_otherwise():
    assert 0 < WorkerSettings(device="cpu").prefix_bytes() <= 2**30
    assert WorkerSettings(device="cpu", prefix_gib=0).prefix_bytes() == 0
    assert WorkerSettings(device="cpu", prefix_gib=2.5).prefix_bytes() == 5 * 2**29
