from __future__ import annotations

import pytest
import torch

from api_schemas.problems import InputError
from worker.settings import WorkerSettings


def test_auto_finds_a_device_that_is_there():
    assert torch.zeros(1, device=WorkerSettings(device="auto").torch_device()).item() == 0


@pytest.mark.parametrize("device", ["nose", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(InputError, match=device):
        WorkerSettings(device=device).torch_device()


def test_bfloat16_is_for_cuda():
    with pytest.raises(InputError, match="bfloat16"):
        WorkerSettings(device="cpu", dtype="bfloat16").torch_dtype()
    assert WorkerSettings(device="cpu").torch_dtype() is torch.float32


def test_the_environment_sets_a_worker_up(monkeypatch):
    monkeypatch.setenv("ELASTICNAS_WORKER_TOKEN_BUDGET", "123")
    assert WorkerSettings(device="cpu").tokens_per_batch() == 123


def test_activations_take_a_gibibyte_at_most_on_a_cpu_unless_told_otherwise():
    assert 0 < WorkerSettings(device="cpu").prefix_bytes() <= 2**30
    assert WorkerSettings(device="cpu", prefix_gib=0).prefix_bytes() == 0
    assert WorkerSettings(device="cpu", prefix_gib=2.5).prefix_bytes() == 5 * 2**29
