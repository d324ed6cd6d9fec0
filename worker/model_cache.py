"""Models and data kept warm between messages."""

from __future__ import annotations

import gc
import time
from collections import OrderedDict
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from elasticnas.api_schemas.conditions import Conditions
from elasticnas.api_schemas.messages import lane_of
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.racing import Hits
from elasticnas.search.races.course import Course
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.forward.prefixes import PrefixCache
from elasticnas.supernet.measuring.examples import Examples
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import TASKS
from elasticnas.tasks.settings import validated
from elasticnas.worker.blobs import BlobStore, checkpoint
from elasticnas.worker.calibration import Calibration
from elasticnas.worker.evaluator import SupernetEvaluator
from elasticnas.worker.rows import read_examples

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
    evaluators: OrderedDict[EvaluatorKey, SupernetEvaluator] = field(default_factory=OrderedDict)


class ModelCache:
    """The latest used super-networks, with up to four evaluators each.

    At most ``capacity`` of them, and of at most ``memory_bytes`` together; the one in use is kept
    whatever its size. Of what the weights leave of these bytes, ``prefix_bytes`` may be taken by
    activations that subnets share.
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
        calibration: Calibration | None = None,
    ) -> None:
        self._blobs = blobs
        self._cache_dir = cache_dir
        self._device = device
        self._token_budget = token_budget
        self._capacity = capacity
        self._memory_bytes = memory_bytes
        self._is_lent = False
        self._prefix_bytes = prefix_bytes
        self._prefixes = PrefixCache(min(prefix_bytes, memory_bytes))
        self._calibration = calibration
        self._supernets: OrderedDict[SupernetKey, CachedSupernet] = OrderedDict()
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

    def supernet(self, digest: str, precision: Precision = Precision.FLOAT32) -> CachedSupernet:
        """The super-network of a manifest digest in a precision, read now if it is not held.

        Raises:
            InputError: the checkpoint cannot be used.
        """
        key = digest, precision
        if key not in self._supernets:
            start = time.perf_counter()
            with self.checkpoint(digest) as folder:
                supernet = read_supernet(folder)
                tokenizer = load_tokenizer(supernet)
            size = _size_bytes(supernet)
            self._make_room(size)
            self._supernets[key] = CachedSupernet(
                supernet.to(self._device, dtype_of(precision)), tokenizer, size
            )
            self._loads += 1
            self._load_seconds += time.perf_counter() - start
        self._supernets.move_to_end(key)
        self._note_held()
        return self._supernets[key]

    def evaluator(self, conditions: Conditions, pilots: tuple[Hits, ...] = ()) -> SupernetEvaluator:
        """What measures under these conditions, on a course laid by the pilots.

        Raises:
            InputError: the checkpoint cannot be used, or the task is not known here.
        """
        held = self.supernet(conditions.supernet, conditions.precision)
        key = conditions.key, pilots
        if key not in held.evaluators:
            examples, budget = self._tokenized(held, conditions)
            while len(held.evaluators) >= self.EVALUATORS:
                held.evaluators.popitem(last=False)
            task = TASKS[conditions.task]
            held.evaluators[key] = SupernetEvaluator(
                held.supernet,
                task,
                examples,
                budget,
                self._prefixes,
                Course.laid_by(pilots),
                validated(task.settings_type, conditions.settings),
            )
        held.evaluators.move_to_end(key)
        return held.evaluators[key]

    def _tokenized(self, held: CachedSupernet, conditions: Conditions) -> tuple[Examples, int]:
        """The rows and their token budget; as they are, where they only lack laps."""
        same = [each for key, each in held.evaluators.items() if key[0] == conditions.key]
        if same:  # what fits into memory was found out by one of them, perhaps
            return same[0].examples, min(each.token_budget for each in same)
        with self._blobs.lease(conditions.dataset) as path:
            examples = read_examples(path, held.tokenizer, held.supernet, conditions)
        if self._calibration is None:
            return examples, self._token_budget
        return examples, self._calibration.token_budget(held.supernet, examples)

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
        return self._memory_bytes // 2 if self._is_lent else self._memory_bytes

    def _note_held(self) -> None:
        self.digests = tuple(dict.fromkeys(digest for digest, _ in self._supernets))
        self.lanes = tuple(lane_of(*key) for key in self._supernets)

    def _make_room(self, size: int) -> None:
        while self._supernets and (
            len(self._supernets) >= self._capacity
            or size + self._weight_bytes() > self._limit_bytes
        ):
            self._supernets.popitem(last=False)
        self._bound_prefixes(size)

    def _bound_prefixes(self, coming: int = 0) -> None:
        """Leave to activations what weights, those ``coming`` included, do not take."""
        left = self._limit_bytes - self._weight_bytes() - coming
        self._prefixes.limit(min(self._prefix_bytes, left))

    def _weight_bytes(self) -> int:
        return sum(held.size_bytes for held in self._supernets.values())


def dtype_of(precision: Precision) -> torch.dtype:
    """What torch calls a precision."""
    return {Precision.FLOAT32: torch.float32, Precision.BFLOAT16: torch.bfloat16}[precision]


def _size_bytes(supernet: Supernet) -> int:
    return sum(tensor.nbytes for tensor in supernet.tensors.values())
