"""What a subnet writes behind prompts. A row that has ended leaves its batch."""

from __future__ import annotations

from elasticnas.supernet.forward.activation import ActiveSubnet
from elasticnas.supernet.measuring.beams import beam_search
from elasticnas.supernet.measuring.decoding import Decode, Decoding, cut
from elasticnas.supernet.measuring.greedy import greedy
from elasticnas.supernet.measuring.token_reader import Prompts, TokenReader, running


def generate(
    active: ActiveSubnet, prompts: Prompts, decoding: Decoding, decode: Decode
) -> list[str]:
    """The text behind each prompt, up to an end token or a text to stop at.

    As by ``generate()`` of Transformers without sampling, of one prompt at a time.
    """
    tokens = generated_tokens(active, prompts, decoding, decode)
    return [cut(text, decoding.stop) for text in decode(tokens)]


def generated_tokens(
    active: ActiveSubnet, prompts: Prompts, decoding: Decoding, decode: Decode
) -> list[list[int]]:
    """The tokens behind each prompt, an end token left out; ``decode`` is asked for stops alone."""
    write = greedy if decoding.beams == 1 else beam_search
    return running(
        active, lambda model: write(TokenReader(model, prompts), prompts, decoding, decode)
    )
