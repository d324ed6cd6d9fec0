"""Answers that are kept take no more memory than they may."""

from __future__ import annotations

import sys

from elasticnas.service.searches.rendered import Rendered

BODY = "x" * 1000


def test_the_latest_used_are_kept_within_the_limit():
    kept: Rendered[str] = Rendered(limit_bytes=3 * sys.getsizeof(BODY))
    for name in "abc":
        kept.keep(name, BODY)
    assert kept.get("a") == BODY
    kept.keep("d", BODY)
    assert [kept.get(name) is not None for name in "abcd"] == [True, False, True, True]
    assert kept.held_bytes == 3 * sys.getsizeof(BODY)


def test_many_small_bodies_or_few_large_ones():
    kept: Rendered[bytes] = Rendered(limit_bytes=10_000)
    for number in range(1000):
        kept.keep(str(number), bytes(number))
        assert kept.held_bytes <= 10_000
    assert kept.get("999") is not None


def test_what_is_too_large_by_itself_is_not_kept_and_drives_nothing_out():
    kept: Rendered[bytes] = Rendered(limit_bytes=1000)
    kept.keep("small", b"x")
    kept.keep("large", bytes(2000))
    assert kept.get("small") == b"x"
    assert kept.get("large") is None


def test_the_same_answer_again_counts_once():
    kept: Rendered[str] = Rendered(limit_bytes=10_000)
    for _ in range(20):
        kept.keep("a", BODY)
    assert kept.held_bytes == sys.getsizeof(BODY)
