"""The settings of a worker process."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from elasticnas.api_schemas.messages import (
    EvaluateSubnets,
    ExportSubnet,
    InspectSupernet,
    RunStep,
)
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.problems import InputError
from elasticnas.worker.memory import host_bytes
from elasticnas.worker.step_limits import StepLimits

if TYPE_CHECKING:  # the processes that check a configuration file are not all workers
    import torch


QUEUES = tuple(
    message.queue for message in (InspectSupernet, EvaluateSubnets, ExportSubnet, RunStep)
)


DEVICE = re.compile(r"auto|(cpu|cuda|mps)(:\d{1,2})?")


class WorkerSettings(BaseSettings):
    """Read once at start-up, from ``ELASTICNAS_WORKER_*`` environment variables."""

    model_config = SettingsConfigDict(
        env_prefix="ELASTICNAS_WORKER_", env_ignore_empty=True, extra="ignore"
    )

    device: str = Field(
        default="auto",
        description="auto (CUDA, then MPS, then CPU), cpu, cuda, cuda:<index> or mps",
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32",
        description="of weights and activations, unless a search asks for another; bfloat16 and "
        "float16 on CUDA, and on CPUs that compute in them",
    )
    token_budget: int | None = Field(
        default=None,
        ge=1,
        description="tokens of a batch, padding included; None is 65536, on CPU 4096 or what a "
        "short calibration finds to be fastest",
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        description="threads of an evaluation on CPU; None is what a short calibration finds to be "
        "fastest. There is none if this, token_budget or OMP_NUM_THREADS is set",
    )
    cache_dir: Path = Field(
        default=Path("data/worker"),
        description="folder for unpacked checkpoints; in data_dir unless set",
    )
    stop_grace_seconds: float = Field(
        default=570.0,
        gt=0,
        description="how long a worker that is told to stop may take over the message in hand, and "
        "a server with a worker inside likewise; what hangs after that is left behind",
    )
    warm_supernets: int = Field(
        default=8, ge=1, description="most super-networks kept in memory, the latest used"
    )
    warm_gib: float | None = Field(
        default=None,
        gt=0,
        description="most memory for their weights and the activations that subnets share, in "
        "GiB; None is a third of this worker's share of the device's",
    )
    prefix_gib: float | None = Field(
        default=None,
        ge=0,
        description="most memory for activations that subnets share, in GiB and within warm_gib; "
        "0 keeps none; None is an eighth of this worker's share of the device's, on CPU at most 1",
    )
    memory_sharers: int = Field(
        default=1,
        ge=1,
        description="how many workers share the device's memory, each of which takes its share; on "
        "CPU that is the host's, or the limit of the container or control group if lower, and "
        "workers in containers with limits of their own share nothing",
    )
    evaluation_timeout_seconds: float | None = Field(
        default=None,
        gt=0,
        description="how long measuring one subnet may take before it fails; None is ten minutes "
        "and a fiftieth of a second for each token of the dataset (rows times max_length)",
    )
    take: str = Field(
        default=",".join(QUEUES),
        description=f"what the worker takes, separated by commas, of {', '.join(QUEUES)}; jobs are "
        "trainings, which run beside the others for minutes to days",
    )
    share_device: bool | None = Field(
        default=None,
        description="whether evaluations run beside a step of a job on the same device, each with "
        "half of the memory, or wait until it is over; None is yes on CPU, whose cores the "
        "operating system shares out anyway, and no elsewhere",
    )
    step_silence_seconds: float = Field(
        default=3600.0,
        gt=0,
        description="how long a step of a job may make no progress before it is ended and goes on "
        "from its last save point",
    )
    affinity: bool = Field(
        default=True, description="take the work of super-networks in memory before any other"
    )
    silence_seconds: float = Field(
        default=30.0,
        gt=0,
        description="what a worker not heard from for this long was at is given to another; the "
        "same for all processes",
    )
    heartbeat_seconds: float = Field(
        default=10.0, gt=0, description="how often the worker reports that it is alive"
    )

    @field_validator("device")
    @classmethod
    def _is_a_device(cls, value: str) -> str:
        """By its spelling alone: whether it is here, torch knows."""
        if not DEVICE.fullmatch(value):
            raise ValueError("this is not a device")
        return value

    @field_validator("take")
    @classmethod
    def _known_queues(cls, text: str) -> str:
        unknown = sorted({each.strip() for each in text.split(",")} - set(QUEUES))
        if unknown:
            raise ValueError(f"{unknown[0]!r} is none of {', '.join(QUEUES)}")
        return text

    def queues(self) -> tuple[str, ...]:
        """The queues that this worker takes messages from."""
        return tuple(each.strip() for each in self.take.split(","))

    def step_limits(self) -> StepLimits:
        """What a step of a job may take of this worker's device."""
        device = self.torch_device()
        shares = device.type == "cpu" if self.share_device is None else self.share_device
        return StepLimits(
            device=str(device),
            shares_device=shares,
            memory_share=1 / (self.memory_sharers * (2 if shares else 1)),
            silence_seconds=self.step_silence_seconds,
        )

    def torch_device(self) -> torch.device:
        """The device that ``device`` means on this machine.

        Raises:
            InputError: there is no such device here.
        """
        import torch

        if self.device == "auto":
            if torch.cuda.is_available():
                return torch.device("cuda")
            return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
        device = torch.device(self.device)
        present = {
            "cpu": True,
            "cuda": torch.cuda.is_available()
            and (device.index is None or device.index < torch.cuda.device_count()),
            "mps": torch.backends.mps.is_available(),
        }
        if not present.get(device.type, False):
            raise InputError(
                "this machine has no such device",
                field="device",
                value=self.device,
                remedy="use --device auto",
            )
        return device

    def precision(self) -> Precision:
        """What this worker measures in unless a search asks for something else.

        Raises:
            InputError: it was asked for what the processor does not compute in.
        """
        precision = Precision(self.dtype)
        if precision not in self.precisions():
            raise InputError(
                f"{precision} is for CUDA devices, and for CPUs with instructions for it: "
                "AVX512, AMX or those of ARM",
                field="dtype",
                value=self.dtype,
                remedy="use float32 on this device",
            )
        return precision

    def precisions(self) -> tuple[Precision, ...]:
        """All that this device computes in."""
        device = self.torch_device().type
        if device == "cuda":
            return tuple(Precision)
        halves = _cpu_halves() if device == "cpu" else ()
        return (Precision.FLOAT32, *halves)

    def warm_bytes(self) -> int:
        """The most memory for warm super-networks, in bytes."""
        if self.warm_gib is not None:
            return int(self.warm_gib * 2**30)
        return self.device_bytes() // 3

    def prefix_bytes(self) -> int:
        """The most memory for activations that subnets share, in bytes."""
        if self.prefix_gib is not None:
            return int(self.prefix_gib * 2**30)
        share = self.device_bytes() // 8
        # The host's memory is also that of the other workers, the server and whoever else is there.
        return share if self.torch_device().type == "cuda" else min(share, 2**30)

    def device_bytes(self) -> int:
        """This worker's share of the device's memory, in bytes."""
        import torch

        device = self.torch_device()
        if device.type == "cuda":
            total = int(torch.cuda.get_device_properties(device).total_memory)
        else:
            total = host_bytes()
        return total // self.memory_sharers

    def tokens_per_batch(self) -> int:
        """The token budget of a batch on this device, before any calibration."""
        if self.token_budget is not None:
            return self.token_budget
        return 4096 if self.torch_device().type == "cpu" else 65_536

    def calibrates(self) -> bool:
        """Whether the worker is to find out what is fastest: on a CPU, where nothing is set."""
        explicit = self.threads or self.token_budget or os.environ.get("OMP_NUM_THREADS")
        return not explicit and self.torch_device().type == "cpu"


_INSTRUCTIONS = {
    Precision.BFLOAT16: ("avx512_bf16", "amx_bf16", "bf16"),
    Precision.FLOAT16: ("avx512_fp16", "amx_fp16", "fp16_arith"),
}
"""What torch calls the instructions of x86 and ARM processors for each."""


def _cpu_halves() -> tuple[Precision, ...]:
    """What of 16 bits the processor multiplies in; others emulate it, slower than float32."""
    import torch

    capabilities = torch.cpu.get_capabilities()
    return tuple(
        precision
        for precision, names in _INSTRUCTIONS.items()
        if any(capabilities.get(name, False) for name in names)
    )
