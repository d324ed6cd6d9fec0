"""Texts end where they should, and are the same whatever prompts are beside them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from elasticnas.search.races.course import Course, pack
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.contracts.checkpoints import some_subnets, write_checkpoint
from elasticnas.supernet.contracts.families import FamilyContract
from elasticnas.supernet.families.llama import LLAMA
from elasticnas.supernet.forward.activation import ActiveSubnet, activate
from elasticnas.supernet.forward.prefixes import PrefixCache
from elasticnas.supernet.measuring.decoding import Decoding, cut, stops
from elasticnas.supernet.measuring.examples import Examples
from elasticnas.supernet.measuring.generation import (
    GenerationExamples,
    end_tokens,
    generate,
    generated_tokens,
    write_texts,
)
from elasticnas.supernet.measuring.measure import laps_of, measure
from elasticnas.supernet.measuring.probes import PROBES
from elasticnas.supernet.measuring.token_reader import Prompts
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import GENERATION
from elasticnas.tasks.beam_length import BeamLength
from elasticnas.tasks.generation import GenerationSettings
from elasticnas.tasks.rows import Rows

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
    return generate(subnet, Prompts.of(rows, 0), decoding, decode)


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


FEW_SHOT = [7, 12, *range(30, 39), 9] * 4
"""What all prompts begin with."""


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("at_once", [None, 9])
def test_what_prompts_begin_with_is_read_once(
    subnet: ActiveSubnet, beams: int, at_once: int | None
) -> None:
    """Also of rows so short that their padding takes the place of some of it, or of all."""
    rows = [[*FEW_SHOT, *row] for row in (*ROWS, list(range(60 % 40)) * 3, [5])]
    prompts = Prompts.of(rows, 0)
    if at_once is not None:
        prompts = prompts.in_parts(at_once)
    assert prompts.shared == len(FEW_SHOT)
    decoding = Decoding(8, ends=tuple(range(20, 24)), beams=beams)
    read: list[int] = []
    watch = subnet.model.register_forward_pre_hook(
        lambda _model, _given, named: read.append(named["input_ids"].numel()), with_kwargs=True
    )
    with torch.inference_mode():
        together = generate(subnet, prompts, decoding, decode)
        watch.remove()
        apart = [generate(subnet, Prompts.of([row], 0), decoding, decode)[0] for row in rows]
    assert together == apart
    assert len(set(together)) > 3
    assert read[0] == len(FEW_SHOT)
    assert max(read[1:]) <= len(rows) * max(len(row) - len(FEW_SHOT) for row in rows)


def test_little_is_not_worth_sharing() -> None:
    assert Prompts.of([[1, 2, 3], [1, 2, 4]], 0).shared == 0
    assert Prompts.of([[*FEW_SHOT, 1]], 0).shared == 0
    assert Prompts.of([FEW_SHOT, FEW_SHOT, FEW_SHOT], 0).shared == len(FEW_SHOT) - 1


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
    prompts = Prompts.of(ROWS[:1], 0)
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


class Llama(FamilyContract):
    family = LLAMA


SETTINGS = GenerationSettings(prompt="w5 {question}", max_new_tokens=5, add_bos=True)


def questions() -> Rows:
    rng = np.random.default_rng(2)
    texts = [
        " ".join(f"w{word}" for word in rng.integers(5, 20, size=rng.integers(1, 9)))
        for _ in range(24)
    ]
    return Rows({"question": texts}, np.array(["?"] * 24, dtype=object))


@pytest.fixture(scope="module")
def supernet() -> Iterator[Supernet]:
    with Llama().supernet() as supernet:
        yield supernet


def prepared(supernet: Supernet, rows: Rows) -> Examples:
    tokenizer = load_tokenizer(supernet)
    tokenizer.bos_token = "[CLS]"
    prepare = PROBES[GENERATION.probe].prepare
    return prepare(rows, GENERATION, SETTINGS, tokenizer, supernet, 40)


def outcomes(
    supernet: Supernet, subnet: SubnetConfig, made: Examples, course: Course | None, budget: int
) -> list[bool]:
    laps = laps_of(made, course, supernet, token_budget=budget, cache=PrefixCache(2**20))
    found = measure(
        supernet, subnet, laps, made.labels, GENERATION, settings=SETTINGS, course=course
    ).outcomes
    assert found is not None
    return found["is_right"].tolist()


def test_rows_are_judged_by_their_own_texts_however_they_are_batched(supernet: Supernet) -> None:
    rows, subnet = questions(), supernet.space.heuristic
    made = prepared(supernet, rows)
    assert isinstance(made, GenerationExamples)
    with torch.inference_mode():
        active = activate(supernet, subnet)
        alone = [write_texts(active, made.batch([row]))[0].strip() for row in range(len(rows))]
    assert len(set(alone)) > 3
    labels = [text if row % 3 else "?" for row, text in enumerate(alone)]
    made = prepared(supernet, replace(rows, labels=np.array(labels, dtype=object)))
    expected = [row % 3 != 0 for row in range(len(rows))]
    rng = np.random.default_rng(0)
    course = Course.laid_by([pack(rng.random(len(rows)) < 0.5) for _ in range(8)])
    for laid, budget in ((None, 1), (None, 10), (course, 10_000)):
        assert outcomes(supernet, subnet, made, laid, budget) == expected


@pytest.mark.parametrize("room", [0.5, 2, 1000])
def test_subnets_share_the_reading_of_their_prompts_within_the_bound(
    supernet: Supernet, room: float
) -> None:
    """The texts are those of each subnet alone; keys and values are counted once for all."""
    cache = PrefixCache(2**30)
    made = prepared(supernet, questions())
    (lap,) = laps_of(made, None, supernet, token_budget=60, cache=cache)
    assert lap.prefixes is not None
    one = lap.prefixes.bytes_each + lap.prefixes.cached_bytes_each
    cache.limit(int(room * one))
    spared = 0
    for subnet in sorted(some_subnets(supernet.space, 4) * 2, key=str):
        with torch.inference_mode(), lap.prefixes.shared(subnet) as splice:
            spared += splice.first
            active = activate(supernet, subnet, splice)
            shared = [write_texts(active, batch) for batch in lap.batches]
            alone = activate(supernet, subnet)
            assert shared == [write_texts(alone, batch) for batch in lap.batches]
        kept = list(lap.prefixes.kept())
        hidden = [state for prefix in kept for state in prefix.states or ()]
        pairs = [pair for prefix in kept for layer in prefix.cached for pair in layer if pair]
        held = {state.data_ptr(): state.nbytes for state in [*hidden, *chain(*pairs)]}
        assert sum(held.values()) <= cache.held_bytes <= cache.limit_bytes
    assert (spared > 0) is (room > 1)


def test_the_end_is_the_models_own_before_the_tokenizers(tmp_path: Path) -> None:
    """Also once the folder is gone, as it is in a worker."""
    source = write_checkpoint(tmp_path / "source", LLAMA)
    (source / "base" / "generation_config.json").unlink()
    config_file = source / "base" / "config.json"
    config = json.loads(config_file.read_text(encoding="utf-8"))
    for place, (generation, of_config, ends) in enumerate(
        [
            ({"eos_token_id": [3, 4]}, 7, (3, 4)),
            ({}, 7, (7,)),
            (None, [5, 6], (5, 6)),
            (None, None, None),
        ]
    ):
        folder = shutil.copytree(source, tmp_path / str(place))
        if generation is not None:
            path = folder / "base" / "generation_config.json"
            path.write_text(json.dumps(generation), encoding="utf-8")
        said = json.dumps({**config, "eos_token_id": of_config})
        (folder / "base" / "config.json").write_text(said, encoding="utf-8")
        supernet = read_supernet(folder)
        tokenizer = load_tokenizer(supernet)
        shutil.rmtree(folder)
        tokenizer.eos_token = "w9"
        assert end_tokens(supernet, tokenizer) == (ends or (tokenizer.eos_token_id,))
