"""Parity with the original LoNAS, Shears and SQFT on language models that they trained."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import load_tokenizer
from elasticnas.supernet.formats.elasticnas import elastic_part
from elasticnas.supernet.formats.space_file import read_space, space_file
from elasticnas.supernet.forward.activation import activate, active_tensors
from elasticnas.supernet.measuring.decoding import Decoding
from elasticnas.supernet.measuring.generation import generate
from elasticnas.supernet.measuring.token_reader import Prompts
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks.beam_length import BeamLength
from tests.supernet.published import BASES, published, references, subnet_of

END_OF_TEXT = 2


@dataclass(frozen=True)
class Trained:
    """A published super-network in float32, and what its original reports of some subnets."""

    name: str
    supernet: Supernet
    references: list[dict[str, Any]]

    def where(self, key: str) -> list[tuple[SubnetConfig, dict[str, Any]]]:
        """The subnets of which this is reported."""
        return [(subnet_of(self.supernet, r), r) for r in self.references if key in r]


@pytest.fixture(scope="module", params=BASES)
def trained(
    request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    supernet = published(shared_data, request.param, tmp_path_factory.mktemp("published"))
    in_float32 = supernet.to(torch.device("cpu"), torch.float32)
    return Trained(request.param, in_float32, references(shared_data, request.param))


@pytest.fixture(scope="module")
def textkind(shared_data: Path) -> list[dict[str, Any]]:
    text = (shared_data / "textkind" / "validation.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_the_method_is_told_by_the_file_that_says_what_is_elastic(trained: Trained):
    assert trained.supernet.method == trained.name.partition("-")[0]
    assert trained.supernet.reference_length == 128


def test_the_named_subnets_are_the_originals(trained: Trained):
    space = trained.supernet.space
    named = {reference["name"]: subnet for subnet, reference in trained.where("name")}
    assert named["max"] == space.maximal
    assert named["min"] == space.minimal
    assert named["heuristic"] == space.heuristic


def test_the_space_can_be_written_as_a_space_file_and_read_again(trained: Trained, tmp_path: Path):
    supernet = trained.supernet
    file = tmp_path / "search_space.json"
    written = space_file(supernet.space, supernet.plan, supernet.reference_length)
    file.write_text(written.model_dump_json(exclude_defaults=True))
    again = elastic_part(read_space(file), supernet.shape)
    assert again.space == supernet.space
    assert set(again.plan.cuts) == set(supernet.plan.cuts)


def test_generated_texts_are_the_originals(trained: Trained, textkind: list[dict[str, Any]]):
    """Beam search as the Transformers of each original has it: 4.31 divides by another length."""
    tokenizer = load_tokenizer(trained.supernet)
    is_older = trained.supernet.method in ("lonas", "shears")
    rule = BeamLength.PROMPT_AND_ANSWER if is_older else BeamLength.ANSWER
    compared = 0
    for subnet, reference in trained.where("generation"):
        expected = reference["generation"]
        rows = [
            tokenizer(f"Text: {row['sentence1']}\nKind:").input_ids
            for row in textkind[: expected["n"]]
        ]
        decoding = Decoding(
            expected["max_new_tokens"],
            ends=(END_OF_TEXT,),
            beams=expected["beams"],
            beam_length=rule,
        )
        with torch.inference_mode():
            texts = generate(
                activate(trained.supernet, subnet),
                Prompts.of(rows, 0, torch.device("cpu")),
                decoding,
                lambda ids: tokenizer.batch_decode(ids, skip_special_tokens=True),
            )
        assert [text.strip() for text in texts] == expected["texts"]
        compared += 1
    assert compared > 2


def test_sparsepeft_keeps_every_zero_of_the_base(trained: Trained):
    """Half of every row of the blocks' linear layers, as the original's merge keeps them."""
    supernet = trained.supernet
    merged = trained.where("merged_sparsity")
    assert bool(merged) is ("sparsepeft" in trained.name)
    linear = [name for name in supernet.tensors if name.endswith("_proj.weight")]
    for subnet, reference in merged:
        active = active_tensors(supernet, subnet)
        weights = [active.get(name, supernet.tensors[name]) for name in linear]
        zeros = sum(int((weight == 0).sum()) for weight in weights)
        sparsity = zeros / sum(weight.numel() for weight in weights)
        assert sparsity == 0.5 == reference["merged_sparsity"]
        assert any(not torch.equal(active[name], supernet.tensors[name]) for name in active)
