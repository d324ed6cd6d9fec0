"""Attention within the rows of a pack, against attention in each row alone."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from elasticnas.supernet.forward import packs
from elasticnas.supernet.forward.packs import (
    Packing,
    attention_within_rows,
    causal_attention_within_rows,
    has_kernel,
)

LENGTHS = (5, 1, 17, 1, 9)
ROWS = Packing.of(LENGTHS)

NEEDS_KERNEL = pytest.mark.skipif(
    not torch.cuda.is_available() or not has_kernel(torch.device("cuda"), torch.bfloat16, 16),
    reason="needs a CUDA device with the kernel for packs: nothing else runs it",
)


def random_heads(tokens: int, heads: int = 3, size: int = 16) -> torch.Tensor:
    return torch.randn(tokens, heads, size, generator=torch.Generator().manual_seed(tokens))


def row_by_row(query, key, value, queries: Packing, keys: Packing) -> torch.Tensor:
    found, ends = [], zip(queries.bounds.tolist()[1:], keys.bounds.tolist()[1:], strict=True)
    for (q_end, k_end), q, k in zip(ends, queries.lengths, keys.lengths, strict=True):
        own = query[q_end - q : q_end], key[k_end - k : k_end], value[k_end - k : k_end]
        weights = torch.einsum("qhd,khd->hqk", *own[:2]) / query.shape[-1] ** 0.5
        found.append(torch.einsum("hqk,khd->qhd", weights.softmax(-1), own[2]))
    return torch.cat(found)


def causal_row_by_row(query, key, value, window: int | None, scale: float) -> torch.Tensor:
    """Of ``ROWS``; each key-value head serves as many query heads as there are to each."""
    groups = query.shape[1] // key.shape[1]
    key, value = (each.repeat_interleave(groups, dim=1) for each in (key, value))
    found = []
    for q, k, v in zip(*(each.split(LENGTHS) for each in (query, key, value)), strict=True):
        places = torch.arange(len(q))
        distance = places[:, None] - places
        hidden = (distance < 0) | (distance >= (len(q) if window is None else window))
        weights = torch.einsum("qhd,khd->hqk", q, k) * scale
        weights = weights.masked_fill(hidden, -torch.inf).softmax(-1)
        found.append(torch.einsum("hqk,khd->qhd", weights, v))
    return torch.cat(found)


def test_a_packing_tells_where_its_rows_are():
    assert ROWS.bounds.tolist() == [0, 5, 6, 23, 24, 33]
    assert ROWS.bounds.dtype == torch.int32  # what the kernel takes
    assert ROWS.firsts.tolist() == [0, 5, 6, 23, 24]
    assert ROWS.longest == 17
    assert ROWS.of_firsts.bounds.tolist() == [0, 1, 2, 3, 4, 5]
    assert ROWS.of_firsts.lengths == (1, 1, 1, 1, 1)


@pytest.mark.parametrize("queries", [ROWS, ROWS.of_firsts], ids=["all tokens", "first tokens"])
def test_a_row_attends_to_itself_alone(queries: Packing):
    query, key, value = (random_heads(sum(p.lengths)) for p in (queries, ROWS, ROWS))
    found = attention_within_rows(query, key, value, queries, ROWS)
    torch.testing.assert_close(found, row_by_row(query, key, value, queries, ROWS))


CAUSAL = pytest.mark.parametrize(
    ("kv_heads", "window"), [(4, None), (2, None), (4, 3), (1, 3), (2, 100)]
)


@CAUSAL
def test_a_token_of_a_row_attends_to_those_before_it(kv_heads: int, window: int | None):
    query = random_heads(sum(LENGTHS), 4)
    key, value = (random_heads(sum(LENGTHS), kv_heads) + shift for shift in (0, 1))
    found = causal_attention_within_rows(query, key, value, ROWS, scale=0.3, window=window)
    torch.testing.assert_close(found, causal_row_by_row(query, key, value, window, 0.3))


def test_there_is_no_kernel_but_on_cuda():
    assert not has_kernel(torch.device("cpu"), torch.bfloat16, 64)
    assert not has_kernel(torch.device("cuda"), torch.bfloat16, 6)  # heads of no eight channels


@pytest.mark.parametrize("queries", [ROWS, ROWS.of_firsts], ids=["all tokens", "first tokens"])
def test_the_kernel_is_called_as_it_is_declared(monkeypatch, queries: Packing):
    """On tensors without data: torch then checks arguments and shapes, and runs nothing."""
    monkeypatch.setattr(packs, "has_kernel", lambda *_: True)
    meta = torch.device("meta")
    query, key, value = (
        random_heads(sum(p.lengths)).to(meta, torch.bfloat16) for p in (queries, ROWS, ROWS)
    )
    found = attention_within_rows(query, key, value, queries.to(meta), ROWS.to(meta))
    assert (found.shape, found.dtype) == (query.shape, torch.bfloat16)


@CAUSAL
def test_the_causal_kernel_is_called_as_it_is_declared(monkeypatch, kv_heads, window):
    monkeypatch.setattr(packs, "has_kernel", lambda *_: True)
    meta = torch.device("meta")
    query, key, value = (
        random_heads(sum(LENGTHS), heads).to(meta, torch.bfloat16)
        for heads in (4, kv_heads, kv_heads)
    )
    found = causal_attention_within_rows(query, key, value, ROWS.to(meta), scale=0.3, window=window)
    assert (found.shape, found.dtype) == (query.shape, torch.bfloat16)


@NEEDS_KERNEL
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@CAUSAL
def test_the_causal_kernel_agrees_with_attention_row_by_row(kv_heads, window, dtype):
    device = torch.device("cuda")
    query, key, value = (
        random_heads(sum(LENGTHS), heads).to(device, dtype) for heads in (4, kv_heads, kv_heads)
    )
    found = causal_attention_within_rows(
        query, key, value, ROWS.to(device), scale=0.3, window=window
    )
    exact = causal_row_by_row(*(t.float().cpu() for t in (query, key, value)), window, 0.3)
    torch.testing.assert_close(found.float().cpu(), exact, rtol=0.02, atol=0.02)


@NEEDS_KERNEL
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("queries", [ROWS, ROWS.of_firsts], ids=["all tokens", "first tokens"])
def test_the_kernel_agrees_with_attention_row_by_row(queries: Packing, dtype):
    device = torch.device("cuda")
    query, key, value = (
        random_heads(sum(p.lengths)).to(device, dtype) for p in (queries, ROWS, ROWS)
    )
    found = attention_within_rows(query, key, value, queries.to(device), ROWS.to(device))
    exact = row_by_row(*(t.float().cpu() for t in (query, key, value)), queries, ROWS)
    torch.testing.assert_close(found.float().cpu(), exact, rtol=0.02, atol=0.02)


@NEEDS_KERNEL
def test_there_is_no_kernel_for_float32():
    assert not has_kernel(torch.device("cuda"), torch.float32, 16)


def test_softmax_by_hand_is_torchs():
    """`row_by_row` is what the others are held against."""
    query, key, value = (random_heads(5) for _ in range(3))
    one = Packing.of((5,))
    heads_first = (t.transpose(0, 1) for t in (query, key, value))
    torch.testing.assert_close(
        row_by_row(query, key, value, one, one).transpose(0, 1),
        functional.scaled_dot_product_attention(*heads_first),
    )
