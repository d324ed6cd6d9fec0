"""Models and data kept warm between messages."""

from __future__ import annotations

import gc
import time
from collections import OrderedDict
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from elasticnas.api_schemas.conditions import Conditions
from elasticnas.api_schemas.messages import lane_of
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.racing import Hits
from elasticnas.search.races.course import Course
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.forward.joining import joined_for, merged_bytes, weight_bytes
from elasticnas.supernet.forward.prefixes import PrefixCache
from elasticnas.supernet.measuring.examples import Examples
from elasticnas.supernet.measuring.stored_examples import read_examples
from elasticnas.supernet.methods.trained_first import TrainedFirst, trained_first
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import TASKS
from elasticnas.tasks.settings import validated
from elasticnas.worker.blobs import BlobStore, checkpoint
from elasticnas.worker.calibration import Calibration
from elasticnas.worker.evaluator import SupernetEvaluator
from elasticnas.worker.training_evaluator import TrainingEvaluator

SupernetKey = tuple[str, Precision]
"""Manifest digest, and the precision of the weights on the device."""
EvaluatorKey = tuple[str, tuple[Hits, ...]]
"""The key of the conditions, and by whom the course of races is laid."""


@dataclass(frozen=True)
class CachedSupernet:
    """A super-network on the device, its tokenizer, and the evaluators of its subnets."""

    supernet: Supernet
    tokenizer: PreTrainedTokenizerBase
    size_bytes: int
    merged_bytes: int
    """Of the weights that a subnet has of its own while it is measured, adapters merged."""
    evaluators: OrderedDict[EvaluatorKey, SupernetEvaluator | TrainingEvaluator] = field(
        default_factory=OrderedDict
    )


@dataclass(frozen=True)
class _Read:
    """A super-network as it is stored, mapped from its files: nothing is computed with it yet."""

    key: SupernetKey
    supernet: Supernet
    tokenizer: PreTrainedTokenizerBase


class ModelCache:
    """The latest used super-networks, with up to four evaluators each.

    At most ``capacity`` of them, and of at most ``memory_bytes`` together; the one in use is kept
    whatever its size. Mapped weights count in full, for an evaluation reads them all. Of what the
    weights leave of these bytes, ``prefix_bytes`` may be taken by activations that subnets share.
    Weights that take more than ``device_bytes`` are refused.
    """

    EVALUATORS = 4

    def __init__(
        self,
        blobs: BlobStore,
        cache_dir: Path,
        *,
        device: torch.device,
        token_budget: int,
        capacity: int,
        memory_bytes: int,
        prefix_bytes: int,
        device_bytes: int | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self._blobs = blobs
        self._cache_dir = cache_dir
        self._device = device
        self._token_budget = token_budget
        self._capacity = capacity
        self.memory_bytes = memory_bytes
        """What all super-networks may take together, and what subnets have of their own."""
        self._device_bytes = device_bytes
        self._is_lent = False
        self._prefix_bytes = prefix_bytes
        self._prefixes = PrefixCache(min(prefix_bytes, memory_bytes))
        self._calibration = calibration
        self._supernets: OrderedDict[SupernetKey, CachedSupernet] = OrderedDict()
        self._latest: _Read | None = None
        self._loads = 0
        self._load_seconds = 0.0
        self.digests: tuple[str, ...] = ()
        """Manifest digests of the super-networks held, latest used last; any thread may read."""
        self.lanes: tuple[str, ...] = ()
        """The lanes of what can be measured with the super-networks held."""

    @property
    def load_seconds(self) -> float | None:
        """How long loading a super-network took on average; None before the first."""
        return self._load_seconds / self._loads if self._loads else None

    def checkpoint(self, digest: str) -> AbstractContextManager[Path]:
        """The checkpoint's files, there until the block ends."""
        return checkpoint(digest, self._blobs, self._cache_dir)

    def as_stored(self, digest: str, precision: Precision) -> Supernet:
        """The super-network of a manifest digest for a look at it, which takes next to no memory.

        Until the next one it is kept for a search in this ``precision``, likely to come soon.

        Raises:
            InputError: the checkpoint cannot be used.
        """
        key = digest, precision
        read = self._latest
        if read is None or read.key != key:
            read = self._read(key)  # one that is held may be in another dtype
        if key not in self._supernets:
            self._latest = read
            self._note_held()
        return read.supernet

    def supernet(self, digest: str, precision: Precision = Precision.FLOAT32) -> CachedSupernet:
        """The super-network of a manifest digest in a precision, read now if it is not held.

        Raises:
            InputError: the checkpoint cannot be used, or its weights do not fit on the device.
        """
        key = digest, precision
        if key not in self._supernets:
            start = time.perf_counter()
            read, self._latest = self._latest, None
            if read is None or read.key != key:
                read = self._read(key)
            dtype = dtype_of(precision)
            self._require_room(read.supernet, precision)
            size = weight_bytes(read.supernet, dtype)
            merged = merged_bytes(read.supernet, dtype)
            if size + merged > self.memory_bytes:
                merged = 0  # they stay beside their layers: `joined_for`
            self._make_room(size, merged)
            self._supernets[key] = CachedSupernet(
                read.supernet.to(self._device, dtype), read.tokenizer, size, merged
            )
            self._loads += 1
            self._load_seconds += time.perf_counter() - start
        self._supernets.move_to_end(key)
        self._note_held()
        return self._supernets[key]

    def _read(self, key: SupernetKey) -> _Read:
        with self.checkpoint(key[0]) as folder:
            supernet = read_supernet(folder)
            return _Read(key, supernet, load_tokenizer(supernet))

    def evaluator(
        self, conditions: Conditions, pilots: tuple[Hits, ...] = ()
    ) -> SupernetEvaluator | TrainingEvaluator:
        """What measures under these conditions, on a course laid by the pilots.

        Raises:
            InputError: the checkpoint cannot be used, or the task is not known here.
        """
        held = self.supernet(conditions.supernet, conditions.precision)
        key = conditions.key, pilots
        if key not in held.evaluators:
            supernet, examples, budget = self._prepared(held, conditions)
            while len(held.evaluators) >= self.EVALUATORS:
                held.evaluators.popitem(last=False)
            task = TASKS[conditions.task]
            measuring = SupernetEvaluator(
                supernet,
                task,
                examples,
                budget,
                self._prefixes,
                Course.laid_by(pilots),
                validated(task.settings_type, conditions.settings),
            )
            training = self._training(held, conditions)
            held.evaluators[key] = (
                measuring if training is None else TrainingEvaluator(measuring, training)
            )
        held.evaluators.move_to_end(key)
        return held.evaluators[key]

    def _training(self, held: CachedSupernet, conditions: Conditions) -> TrainedFirst | None:
        """What trains subnets before they are measured, where the conditions ask for it."""
        if conditions.fine_tuning is None:
            return None
        with (
            self.checkpoint(conditions.supernet) as folder,
            self._blobs.lease(conditions.fine_tuning.rows) as rows,
        ):
            there = replace(held.supernet, folder=folder)
            return trained_first(there, conditions.fine_tuning, conditions.task, rows, self._device)

    def _prepared(
        self, held: CachedSupernet, conditions: Conditions
    ) -> tuple[Supernet, Examples, int]:
        """The super-network with its adapters joined as suits the rows, these, and their token
        budget; as they are, where they only lack laps."""
        same = [
            each
            for key, each in held.evaluators.items()
            if key[0] == conditions.key and isinstance(each, SupernetEvaluator)
        ]
        if same:  # what fits into memory was found out by one of them, perhaps
            budget = min(each.token_budget for each in same)
            return same[0].supernet, same[0].examples, budget
        with self._blobs.lease(conditions.dataset) as path:
            examples = read_examples(path, held.tokenizer, held.supernet, conditions)
        supernet = joined_for(held.supernet, tokens=examples.tokens, limit_bytes=self.memory_bytes)
        if self._calibration is None:
            return supernet, examples, self._token_budget
        return supernet, examples, self._calibration.token_budget(supernet, examples)

    def give_up_prefixes(self) -> bool:
        """Drop the activations that subnets share, and keep at most half as many from now on.

        For when memory runs out: they are the cheapest to come by again. False when none may be
        kept anyway.
        """
        if self._prefixes.limit_bytes == 0:
            return False
        self._prefix_bytes = (self._prefixes.held_bytes or self._prefixes.limit_bytes) // 2
        self._prefixes.clear()
        self._bound_prefixes()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return True

    def keep_used(self) -> None:
        """Give back the memory of every super-network but the one used last."""
        if self._supernets:
            self.keep_only(*next(reversed(self._supernets)))

    def keep_only(self, digest: str | None, precision: Precision = Precision.FLOAT32) -> None:
        """Give back the memory of every super-network but this one, and of all activations."""
        for other in [held for held in self._supernets if held != (digest, precision)]:
            del self._supernets[other]
        self._latest = None
        self._prefixes.clear()
        self._note_held()
        self._bound_prefixes()
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def lend(self) -> None:
        """Give back all memory, and use at most half as much until `take_back`."""
        self._is_lent = True
        self.keep_only(None)

    def take_back(self) -> None:
        """All memory is this cache's again; any thread may say so."""
        self._is_lent = False

    @property
    def _limit_bytes(self) -> int:
        return self.memory_bytes // 2 if self._is_lent else self.memory_bytes

    def _note_held(self) -> None:
        keys = dict.fromkeys(self._supernets)
        if self._latest is not None:
            keys[self._latest.key] = None
        self.digests = tuple(dict.fromkeys(digest for digest, _ in keys))
        self.lanes = tuple(lane_of(*key) for key in keys)

    def _make_room(self, size: int, merged: int) -> None:
        while self._supernets and (
            len(self._supernets) >= self._capacity
            or self._weight_bytes(size, merged) > self._limit_bytes
        ):
            self._supernets.popitem(last=False)
        self._bound_prefixes(size, merged)

    def _bound_prefixes(self, size: int = 0, merged: int = 0) -> None:
        """Leave to activations what weights, those of one that comes included, do not take."""
        left = self._limit_bytes - self._weight_bytes(size, merged)
        self._prefixes.limit(min(self._prefix_bytes, left))

    def _weight_bytes(self, size: int, merged: int) -> int:
        """Of all that is held, with what comes; one subnet at a time has weights of its own."""
        held = self._supernets.values()
        return (
            sum(each.size_bytes for each in held)
            + size
            + max([merged, *(each.merged_bytes for each in held)])
        )

    def _require_room(self, supernet: Supernet, precision: Precision) -> None:
        needed = weight_bytes(supernet, dtype_of(precision))
        if self._device_bytes is not None and needed > self._device_bytes:
            raise InputError(
                f"in {precision} the weights take {needed / 2**30:.1f} GiB, more than the "
                f"{self._device_bytes / 2**30:.1f} GiB that this worker has of its device",
                field="precision",
                value=precision.value,
                remedy="search in bfloat16 or float16, or with workers of more memory",
            )


def dtype_of(precision: Precision) -> torch.dtype:
    """What torch calls a precision."""
    return {
        Precision.FLOAT32: torch.float32,
        Precision.BFLOAT16: torch.bfloat16,
        Precision.FLOAT16: torch.float16,
    }[precision]
