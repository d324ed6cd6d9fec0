"""Greedy decoding: the likeliest token at each step."""

from __future__ import annotations

import torch

from elasticnas.supernet.measuring.decoding import Decode, Decoding, stops
from elasticnas.supernet.measuring.token_reader import Prompts, TokenReader


def greedy(
    reader: TokenReader, prompts: Prompts, decoding: Decoding, decode: Decode
) -> list[list[int]]:
    """The tokens of each row, its end token left out."""
    ends = torch.tensor(decoding.ends, dtype=torch.long, device=prompts.token_ids.device)
    answers: list[list[int]] = [[] for _ in prompts.token_ids]
    rows = list(range(len(answers)))
    for step in range(1, decoding.max_new_tokens + 1):
        chosen = reader.logits.argmax(-1)
        is_end = torch.isin(chosen, ends).tolist()
        for row, token, ended in zip(rows, chosen.tolist(), is_end, strict=True):
            if not ended:
                answers[row].append(token)
        stopped = stops([answers[row] for row in rows], decoding.stop, decode)
        going = [i for i in range(len(rows)) if not (is_end[i] or stopped[i])]
        if not going or step == decoding.max_new_tokens:
            break
        if len(going) < len(rows):
            rows = [rows[i] for i in going]
            kept = torch.tensor(going, device=chosen.device)
            reader.select(kept)
            chosen = chosen[kept]
        reader.read(chosen)
    return answers
