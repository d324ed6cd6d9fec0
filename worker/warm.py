"""Models and data kept warm between messages."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from api_schemas.messages import EvaluateSubnets
from supernet.checkpoint.reader import load_tokenizer, read_supernet
from supernet.examples import Batch, read_canonical, tokenize
from supernet.supernet import Supernet
from worker.blobs import BlobStore, materialise


@dataclass(frozen=True)
class WarmDataset:
    """A tokenised dataset: its batches on the device, its labels on the CPU."""

    batches: list[Batch]
    labels: torch.Tensor


@dataclass(frozen=True)
class WarmSupernet:
    """A super-network on the device, its tokenizer, and the datasets it was measured on."""

    supernet: Supernet
    tokenizer: PreTrainedTokenizerBase
    datasets: OrderedDict[tuple[str, int], WarmDataset] = field(default_factory=OrderedDict)


class WarmModels:
    """The ``capacity`` latest used super-networks, with up to four datasets each."""

    DATASETS = 4

    def __init__(
        self,
        blobs: BlobStore,
        cache_dir: Path,
        *,
        device: torch.device,
        dtype: torch.dtype,
        token_budget: int,
        capacity: int,
    ) -> None:
        self._blobs = blobs
        self._cache_dir = cache_dir
        self._device = device
        self._dtype = dtype
        self._token_budget = token_budget
        self._capacity = capacity
        self._supernets: OrderedDict[str, WarmSupernet] = OrderedDict()
        self.digests: tuple[str, ...] = ()
        """Manifest digests of the super-networks held, latest used last; any thread may read."""

    def folder(self, digest: str) -> Path:
        """The checkpoint's files."""
        return materialise(digest, self._blobs, self._cache_dir)

    def supernet(self, digest: str) -> WarmSupernet:
        """The super-network of a manifest digest, read now if it is not held.

        Raises:
            InputError: the checkpoint cannot be used.
        """
        if digest not in self._supernets:
            supernet = read_supernet(self.folder(digest))
            while len(self._supernets) >= self._capacity:
                self._supernets.popitem(last=False)
            self._supernets[digest] = WarmSupernet(
                supernet.to(self._device, self._dtype), load_tokenizer(supernet)
            )
        self._supernets.move_to_end(digest)
        self.digests = tuple(self._supernets)
        return self._supernets[digest]

    def dataset(self, warm: WarmSupernet, message: EvaluateSubnets) -> WarmDataset:
        """The dataset of an evaluation message, tokenised for this super-network."""
        key = (message.dataset_digest, message.max_length)
        if key not in warm.datasets:
            examples = tokenize(
                read_canonical(self._blobs.fetch(message.dataset_digest)),
                warm.tokenizer,
                warm.supernet.architecture,
                task=message.task,
                max_length=message.max_length,
            )
            batches = examples.batches(self._token_budget)
            while len(warm.datasets) >= self.DATASETS:
                warm.datasets.popitem(last=False)
            warm.datasets[key] = WarmDataset(
                [batch.to(self._device) for batch in batches], examples.labels
            )
        warm.datasets.move_to_end(key)
        return warm.datasets[key]
