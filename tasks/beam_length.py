"""By which length the probability of an answer that beam search found is divided."""

from __future__ import annotations

from enum import StrEnum


class BeamLength(StrEnum):
    """Beams that have ended are compared by their mean log-probability over so many tokens."""

    ANSWER = "answer"
    """The answer's, its end token included: Transformers since 4.36."""
    PROMPT_AND_ANSWER = "prompt_and_answer"
    """Those of prompt and answer together, the end token left out, as Transformers before 4.36 had
    it for decoders. LoNAS and Shears were measured with it; it favours shorter answers."""
