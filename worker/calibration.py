"""Finding out with how many threads, and in how large batches, a processor evaluates fastest."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass

import torch

from elasticnas.api_schemas.supernets import HeadKind
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.measuring.examples import Examples
from elasticnas.supernet.supernet import Supernet

log = logging.getLogger(__name__)

TOKEN_BUDGETS = (1024, 2048, 4096, 8192)
TRIAL_TOKENS = 512
"""Tokens of the batch on which numbers of threads are tried."""
SECONDS = 2.0
GAIN = 1.05
"""What is tried later must be faster by this much: less is a matter of chance."""


@dataclass
class Calibration:
    """Tries one batch of a dataset on the maximal subnet in several ways, and keeps the fastest.

    ``threads`` are tried once, at first use; token budgets for each super-network and dataset. No
    trial is begun that would end after ``seconds``, but for the first of each kind. Metrics do not
    depend on the outcome, but for the rounding of sums.
    """

    threads: tuple[int, ...]
    seconds: float = SECONDS

    def token_budget(self, supernet: Supernet, examples: Examples) -> int:
        """The best token budget; at first use, torch's number of threads is set before."""
        deadline = time.perf_counter() + self.seconds
        if self.threads:
            self._set_threads(supernet, examples, deadline)
        best, best_rate = TOKEN_BUDGETS[0], 0.0
        for budget in TOKEN_BUDGETS:
            if _is_too_late(budget, best_rate, deadline):
                break
            rate = _tokens_per_second(supernet, examples, budget)
            if rate > GAIN * best_rate:
                best, best_rate = budget, rate
        log.info(
            "calibrated: %d threads, batches of %d tokens: %.0f tokens/s in the maximal subnet",
            torch.get_num_threads(),
            best,
            best_rate,
        )
        return best

    def _set_threads(self, supernet: Supernet, examples: Examples, deadline: float) -> None:
        best, best_rate = torch.get_num_threads(), 0.0
        for count in self.threads:
            if _is_too_late(TRIAL_TOKENS, best_rate, deadline):
                break
            torch.set_num_threads(count)
            rate = _tokens_per_second(supernet, examples, TRIAL_TOKENS)
            if rate > GAIN * best_rate:
                best, best_rate = count, rate
        torch.set_num_threads(best)
        self.threads = ()


def thread_counts() -> tuple[int, ...]:
    """Numbers of threads worth a trial: powers of two up to the processors of this process."""
    available = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    counts = [1]
    while 2 * counts[-1] <= available:
        counts.append(2 * counts[-1])
    return tuple(counts)


def _is_too_late(tokens: int, rate: float, deadline: float) -> bool:
    """Whether two runs of a batch of ``tokens`` at about this rate would end after ``deadline``."""
    return rate > 0 and time.perf_counter() + 2 * tokens / rate > deadline


def _tokens_per_second(supernet: Supernet, examples: Examples, token_budget: int) -> float:
    """The rate in the largest batch, the second time: the first fills caches and pools."""
    batch = examples.trial(token_budget)
    is_language_model = supernet.task_head.kind is HeadKind.CAUSAL_LM
    with torch.inference_mode():
        # Of a language model's logits an evaluation wants few, and all would not fit.
        at = torch.zeros(1, dtype=torch.long) if is_language_model else None
        active = activate(supernet, supernet.space.maximal)
        active.logits(batch.inputs, at)
        start = time.perf_counter()
        active.logits(batch.inputs, at)
        return batch.inputs["input_ids"].numel() / (time.perf_counter() - start)
