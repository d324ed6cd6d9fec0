"""How many threads the linear algebra of a search takes."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


def one_blas_thread() -> AbstractContextManager[object]:
    """NumPy's and SciPy's linear algebra on one thread, for the length of a block.

    A search's matrices are small: threads that wait for each other take twice the time of one and
    four times the processor. And sums are rounded in another order on another number of threads,
    while one request is to give one search on every machine.
    """
    limited: AbstractContextManager[object] = _loaded().limit(limits=1, user_api="blas")
    return limited


@cache
def _loaded() -> ThreadpoolController:
    import scipy.linalg  # noqa: F401 - only a BLAS that is loaded can be limited, and SciPy has its own

    return ThreadpoolController()
