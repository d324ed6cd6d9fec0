"""Answers that are kept take no more memory than they may."""

from __future__ import annotations

import sys

from elasticnas.service.http.body_cache import BodyCache

BODY = "x" * 1000


def test_the_latest_used_are_kept_within_the_limit():
    cache: BodyCache[str] = BodyCache(limit_bytes=3 * sys.getsizeof(BODY))
    for name in "abc":
        cache.keep(name, BODY)
    assert cache.get("a") == BODY
    cache.keep("d", BODY)
    assert [cache.get(name) is not None for name in "abcd"] == [True, False, True, True]
    assert cache.held_bytes == 3 * sys.getsizeof(BODY)


def test_many_small_bodies_or_few_large_ones():
    cache: BodyCache[bytes] = BodyCache(limit_bytes=10_000)
    for number in range(1000):
        cache.keep(str(number), bytes(number))
        assert cache.held_bytes <= 10_000
    assert cache.get("999") is not None


def test_what_is_too_large_by_itself_is_not_kept_and_drives_nothing_out():
    cache: BodyCache[bytes] = BodyCache(limit_bytes=1000)
    cache.keep("small", b"x")
    cache.keep("large", bytes(2000))
    assert cache.get("small") == b"x"
    assert cache.get("large") is None


def test_the_same_answer_again_counts_once():
    cache: BodyCache[str] = BodyCache(limit_bytes=10_000)
    for _ in range(20):
        cache.keep("a", BODY)
    assert cache.held_bytes == sys.getsizeof(BODY)
