"""Texts end where they should, and are the same whatever prompts are beside them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from elasticnas.supernet.families.llama import LLAMA
from elasticnas.supernet.forward.activation import ActiveSubnet
from elasticnas.supernet.measuring.decoding import Decoding, cut, stops
from elasticnas.supernet.measuring.generation import generate, generated_tokens
from elasticnas.supernet.measuring.token_reader import Prompts
from elasticnas.tasks.beam_length import BeamLength

WORDS = [f"<{number}>" for number in range(40)]
ROWS = [[5, 9, 30, 12], [7], [31, 8, 8, 17, 2, 3], [11, 6]]


def decode(rows: list[list[int]]) -> list[str]:
    return ["".join(WORDS[token] for token in row) for row in rows]


@pytest.fixture(scope="module")
def subnet() -> ActiveSubnet:
    torch.manual_seed(1)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    config = LlamaConfig(vocab_size=len(WORDS), num_attention_heads=2, **sizes)
    model: nn.Module = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8 if parameter.ndim == 2 else 1)
    return ActiveSubnet(model, {}, LLAMA)


@torch.inference_mode()
def texts(subnet: ActiveSubnet, rows: list[list[int]], decoding: Decoding) -> list[str]:
    return generate(subnet, Prompts.of(rows, 0, torch.device("cpu")), decoding, decode)


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("beam_length", BeamLength)
def test_a_text_does_not_depend_on_the_prompts_beside_it(
    subnet: ActiveSubnet, beams: int, beam_length: BeamLength
) -> None:
    ends = tuple(range(20, 30))
    decoding = Decoding(12, ends=ends, stop=("<7>",), beams=beams, beam_length=beam_length)
    together = texts(subnet, ROWS, decoding)
    assert together == [texts(subnet, [row], decoding)[0] for row in ROWS]
    assert len({text.count("<") for text in together}) > 1


@pytest.mark.parametrize("beams", [1, 3])
def test_a_text_ends_before_what_stops_it(subnet: ActiveSubnet, beams: int) -> None:
    (whole,) = texts(subnet, ROWS[:1], Decoding(10, beams=beams))
    assert whole.count("<") == 10
    # Greedily the text is the same up to there; a beam that has ended may be another.
    stop = whole[len(whole) // 2 : len(whole) // 2 + 5]
    (ended,) = texts(subnet, ROWS[:1], Decoding(10, stop=(stop,), beams=beams))
    assert stop not in ended
    if beams == 1:
        assert ended == whole[: whole.index(stop)]


def test_a_stopped_row_is_not_read_on(subnet: ActiveSubnet) -> None:
    (whole,) = texts(subnet, ROWS[:1], Decoding(10))
    stop = whole[: whole.index(">", 4) + 1]
    prompts = Prompts.of(ROWS[:1], 0, torch.device("cpu"))
    with torch.inference_mode():
        (tokens,) = generated_tokens(subnet, prompts, Decoding(10, stop=(stop,)), decode)
    assert decode([tokens]) == [stop]


def test_a_stop_may_lie_across_tokens_but_not_long_ago() -> None:
    assert stops([[1, 2]], [">" + "<"], decode) == [True]
    assert stops([[1] + [2] * 50], ["<1>"], decode) == [False]
    assert stops([[1]], [], decode) == [False]


def test_a_text_is_cut_at_the_first_of_its_stops() -> None:
    assert cut("abcabd", ("bd", "ca")) == "ab"
    assert cut("abc", ()) == "abc"


def test_the_older_length_favours_shorter_answers(subnet: ActiveSubnet) -> None:
    counts = {
        rule: sum(
            text.count("<")
            for text in texts(
                subnet, ROWS, Decoding(12, ends=tuple(range(12)), beams=4, beam_length=rule)
            )
        )
        for rule in BeamLength
    }
    assert counts[BeamLength.PROMPT_AND_ANSWER] < counts[BeamLength.ANSWER]
