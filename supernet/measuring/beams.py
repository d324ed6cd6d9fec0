"""Beam search as Transformers does it, in which rows that are settled leave the batch.

The answers are those of ``generate()`` with ``num_beams`` and without sampling, a row at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from elasticnas.supernet.measuring.decoding import Decode, Decoding, stops
from elasticnas.supernet.measuring.token_reader import Prompts, TokenReader
from elasticnas.tasks.beam_length import BeamLength

NEVER = -1.0e9
"""The score of what must not be chosen: finite, as Transformers has it."""
NO_TOKEN = -1
"""What fills an answer behind its end."""


@dataclass(frozen=True)
class Beams:
    """Answers of each row: tokens (rows, answers, length), scores and parents (rows, answers).

    The score of an answer that grows is the sum of its tokens' log-probabilities, of one that has
    ended their mean. ``parents`` are the places of the beams that answers have grown from.
    """

    tokens: torch.Tensor
    scores: torch.Tensor
    parents: torch.Tensor

    def best(self, count: int) -> Beams:
        """The ``count`` answers of each row with the highest scores, the best first."""
        return self.at(self.scores.topk(count).indices)

    def at(self, places: torch.Tensor) -> Beams:
        """The answers at these places (rows, answers)."""
        tokens = self.tokens.take_along_dim(places[..., None], dim=1)
        return Beams(tokens, self.scores.gather(1, places), self.parents.gather(1, places))

    def scored(self, scores: torch.Tensor) -> Beams:
        """These answers with other scores."""
        return Beams(self.tokens, scores, self.parents)

    def select(self, rows: torch.Tensor) -> Beams:
        """The answers of these rows alone."""
        return Beams(self.tokens[rows], self.scores[rows], self.parents[rows])

    def joined(self, longer: Beams) -> Beams:
        """These answers and ``longer`` ones."""
        missing = longer.tokens.shape[-1] - self.tokens.shape[-1]
        tokens = functional.pad(self.tokens, (0, missing), value=NO_TOKEN)
        return Beams(
            torch.cat([tokens, longer.tokens], dim=1),
            torch.cat([self.scores, longer.scores], dim=1),
            torch.cat([self.parents, longer.parents], dim=1),
        )


def beam_search(
    reader: TokenReader, prompts: Prompts, decoding: Decoding, decode: Decode
) -> list[list[int]]:
    """The best of the answers that beam search finds, each row's tokens with its end left out.

    A row is settled when no beam would be better than any of its ended answers if it ended now.
    """
    rows, device = len(prompts.token_ids), prompts.token_ids.device
    beams, ends = decoding.beams, torch.tensor(decoding.ends, dtype=torch.long, device=device)
    is_whole = decoding.beam_length is BeamLength.PROMPT_AND_ANSWER
    lengths = prompts.lengths[:, None] if is_whole else torch.zeros(rows, 1, device=device)
    ended = _none(rows, beams, device)
    growing = ended.scored(ended.scores.index_fill(1, torch.tensor([0], device=device), 0.0))
    answers: list[list[int]] = [[] for _ in range(rows)]
    places = torch.arange(rows, device=device)
    reader.select(places.repeat_interleave(beams))
    for step in range(1, decoding.max_new_tokens + 1):
        lengths = lengths + 1
        candidates = _grown(growing, reader.logits, max(2, 1 + len(ends)) * beams)
        is_end = _is_end(candidates.tokens, ends, decoding.stop, decode)
        # The end token counts where answers alone are compared. Candidates beyond the first
        # `beams` are there to go on with, and end nothing.
        ending = torch.where(is_end, candidates.scores / (lengths - int(is_whole)), NEVER)
        ending[:, beams:] = NEVER
        ended = ended.joined(candidates.scored(ending)).best(beams)
        growing = candidates.scored(torch.where(is_end, NEVER, candidates.scores)).best(beams)
        hoped = (candidates if is_whole else growing).scores[:, :1] / lengths
        settled = (ended.scores[:, -1:] >= hoped) | is_end.all(1, keepdim=True)
        if step == decoding.max_new_tokens:
            cut_off = torch.where(settled, NEVER, growing.scores / lengths)
            ended = ended.joined(growing.scored(cut_off)).best(beams)
            settled = torch.ones_like(settled)
        for row in settled[:, 0].nonzero()[:, 0].tolist():
            answers[int(places[row])] = _without_end(ended.tokens[row, 0].tolist(), decoding.ends)
        stay = (~settled[:, 0]).nonzero()[:, 0]
        if not len(stay):
            break
        places, lengths = places[stay], lengths[stay]
        ended, growing = ended.select(stay), growing.select(stay)
        reader.select((stay[:, None] * beams + growing.parents).flatten())
        reader.read(growing.tokens[..., -1].flatten())
    return answers


def _none(rows: int, beams: int, device: torch.device) -> Beams:
    """Answers that nothing is worse than."""
    scores = torch.full((rows, beams), NEVER, device=device)
    tokens = torch.empty(rows, beams, 0, dtype=torch.long, device=device)
    return Beams(tokens, scores, torch.zeros_like(scores, dtype=torch.long))


def _grown(growing: Beams, logits: torch.Tensor, count: int) -> Beams:
    """The likeliest ``count`` answers of each row with a token more, the likeliest first."""
    log_probabilities = logits.float().log_softmax(-1).view(*growing.scores.shape, -1)
    vocabulary = log_probabilities.shape[-1]
    scores, chosen = (growing.scores[..., None] + log_probabilities).flatten(1).topk(count)
    parents, newest = chosen // vocabulary, chosen % vocabulary
    tokens = growing.tokens.take_along_dim(parents[..., None], dim=1)
    return Beams(torch.cat([tokens, newest[..., None]], dim=-1), scores, parents)


def _is_end(
    tokens: torch.Tensor, ends: torch.Tensor, stop: tuple[str, ...], decode: Decode
) -> torch.Tensor:
    """Whether answers (rows, answers, length) end with their newest token: (rows, answers)."""
    is_end = torch.isin(tokens[..., -1], ends)
    if stop:
        stopped = stops(tokens.flatten(0, 1).tolist(), stop, decode)
        is_end |= torch.tensor(stopped, device=tokens.device).view_as(is_end)
    return is_end


def _without_end(tokens: list[int], ends: tuple[int, ...]) -> list[int]:
    """An answer's tokens before its end token, or before what fills it."""
    ending = {NO_TOKEN, *ends}
    return tokens[: next((i for i, token in enumerate(tokens) if token in ending), len(tokens))]
