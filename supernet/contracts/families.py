"""What every family of models is held to, against Transformers' own model of it."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
import transformers
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache, PreTrainedModel

from elasticnas.api_schemas.spaces import FFN, HALVES, HEADS, RANK, Half
from elasticnas.api_schemas.weights import SubnetCard
from elasticnas.search.cost import cost_report
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.options import check_options
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.contracts.checkpoints import VOCABULARY, some_subnets, write_checkpoint
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.default_space import default_space
from elasticnas.supernet.export.transformers_folder import write_transformers_folder
from elasticnas.supernet.families import FAMILIES
from elasticnas.supernet.families.family import Family, Role
from elasticnas.supernet.formats.elasticnas import elastic_part
from elasticnas.supernet.forward.activation import (
    ActiveSubnet,
    activate,
    active_halves,
    output_logits,
)
from elasticnas.supernet.forward.packs import Packing
from elasticnas.supernet.forward.prefixes import PrefixCache
from elasticnas.supernet.forward.stand_in import StandIn
from elasticnas.supernet.measuring.decoding import Decoding
from elasticnas.supernet.measuring.examples import Batch, Inputs
from elasticnas.supernet.measuring.generation import generated_tokens
from elasticnas.supernet.measuring.token_reader import Prompts, TokenReader, running
from elasticnas.supernet.supernet import Supernet

ROWS, TOKENS = 4, 11
BEGUN = 5
"""Tokens that all prompts begin with."""
NEW_TOKENS = 6


class FamilyContract:
    """Subclass it, name the ``family``, and have its methods run by pytest or by hand.

    ``options`` are further fields of a config that is small enough to run in no time;
    ``side_by_side`` says that attention and FFN read the same hidden states.
    """

    family: ClassVar[Family]
    options: ClassVar[dict[str, Any]] = {}
    side_by_side: ClassVar[bool] = False

    def test_it_is_registered_under_its_model_type(self) -> None:
        """A checkpoint's ``model_type`` finds it."""
        assert FAMILIES[self.family.model_type] is self.family

    def test_every_linear_layer_of_a_block_is_there_and_has_one_role(self) -> None:
        """`Family.module` and `Family.role_of` are inverses, and miss nothing in a block."""
        with self.supernet() as supernet:
            for layer in range(supernet.num_layers):
                prefix = f"{self.family.layers}.{layer}."
                linears = {
                    name
                    for name, module in supernet.model.named_modules()
                    if name.startswith(prefix) and isinstance(module, nn.Linear)
                }
                roles = {role: self.family.module(layer, role) for role in self.family.linears}
                assert set(roles.values()) == linears
                for role, module in roles.items():
                    assert self.family.role_of(module) == (layer, role)

    def test_the_default_search_space_fits(self) -> None:
        """What a training uses where nobody brings a space cuts tensors that there are."""
        with self.supernet() as supernet:
            found = elastic_part(default_space(supernet.shape, rank=4), supernet.shape)
            shapes = supernet.shape.shapes
            found.plan.validate(found.space, shapes, has_halves=bool(self.family.halves))
            assert found.space.size > 1

    def test_what_transformers_writes_by_default_is_read(self) -> None:
        """No option of a stock ``config.json`` is unknown."""
        written = json.loads(self.family.config_class().to_json_string(use_diff=False))
        check_options(written, self.family.options, field="config.json")

    def test_the_maximal_subnet_gives_the_stock_models_bits(self) -> None:
        """Blocks as Transformers runs them, on float32."""
        with self.supernet(adapted=False) as supernet:
            stock = stock_model(supernet, supernet.folder / "base")
            found = logits(stock_blocks(supernet), supernet.space.maximal, padded())
            assert torch.equal(found, stock_logits(stock, padded()))

    def test_it_gives_them_in_bfloat16_too(self) -> None:
        """What modules compute for themselves, as rotary frequencies, stays in float32."""
        with self.supernet(adapted=False) as supernet:
            stock = stock_model(supernet, supernet.folder / "base", dtype=torch.bfloat16)
            moved = supernet.to(torch.device("cpu"), torch.bfloat16)
            found = logits(stock_blocks(moved), moved.space.maximal, padded())
            assert torch.equal(found, stock_logits(stock, padded()))

    def test_subnets_give_the_logits_of_the_masked_full_model(self) -> None:
        """Missing heads and neurons read as zero, adapters merged at the active rank."""
        with self.supernet() as supernet:
            for subnet in some_subnets(supernet.space):
                expected = stock_logits(masked_model(supernet, subnet), padded())
                close(logits(supernet, subnet, padded()), expected)

    def test_the_halves_of_a_layer_one_after_the_other_are_the_layer(self) -> None:
        """To the bit: of two equal layers, one's attention and then the other's FFN."""
        if not self.family.halves or self.side_by_side:
            return
        with self.supernet(adapted=False) as supernet:
            state = supernet.model.state_dict()
            for name, tensor in state.items():
                if self.family.layer_of(name) == 1:
                    tensor.copy_(state[self.family.renumbered(name, {1: 0})])
                half = self.family.half_of(name)
                assert (half is None) is (self.family.layer_of(name) is None), name
            halves, whole, none = (
                logits(supernet, supernet.space.subnet({"left out": choice}), padded())
                for choice in (("0.ffn", "1.attention"), (1,), ())
            )
            assert torch.equal(halves, whole)
            assert not torch.allclose(halves, none, atol=1e-4)

    def test_a_half_that_is_left_out_is_removed_from_the_stock_model(self) -> None:
        """In what a subnet computes, in what it costs, and in the folder that it is exported to."""
        if not self.family.halves:
            return
        with self.supernet() as supernet, tempfile.TemporaryDirectory() as written:
            for choice in ((1, "0.ffn"), ("0.attention",)):
                subnet = supernet.space.subnet({"left out": choice})
                found = logits(supernet, subnet, padded())
                close(found, stock_logits(masked_model(supernet, subnet), padded()))
            folder = exported(supernet, subnet, Path(written) / f"{self.family.model_type}_half")
            loaded = stock_model(supernet, folder)
            close(stock_logits(loaded, padded()), found)
            if self.family.is_causal:
                cached, whole = (
                    [stock_text(loaded, row, 1, (), use_cache=cached) for row in prompts()]
                    for cached in (True, False)
                )
                assert cached == whole
            cost = cost_report(cost_model(supernet), subnet, TOKENS)
            file = transformers.modeling_utils.load_state_dict(folder / "model.safetensors")
            assert cost.params == sum(tensor.numel() for tensor in file.values())
            loaded.set_attn_implementation("eager")  # the counter sees both products
            with torch.inference_mode(), FlopCounterMode(display=False) as counter:
                loaded(input_ids=padded().inputs["input_ids"][:1])
            assert cost.torch_flops == counter.get_total_flops()

    def test_a_prefix_gives_the_very_bits(self) -> None:
        """A subnet that starts from another's first blocks computes what it would alone."""
        with self.supernet() as supernet:
            batches = [padded()]
            prefixes = PrefixCache(2**30).of(supernet, batches)
            spared = 0
            for subnet in some_subnets(supernet.space) * 2:
                with torch.inference_mode(), prefixes.shared(subnet) as splice:
                    spared += splice.first
                    shared = activate(supernet, subnet, splice).logits(batches[0].inputs)
                assert torch.equal(shared, logits(supernet, subnet, batches[0]))
            assert spared > 0

    def test_continuations_that_share_a_sequence_read_as_each_alone(self) -> None:
        """One text and two continuations of it in one row, by a mask and positions of our own."""
        with self.supernet() as supernet:
            if not self.family.can_share_a_sequence(supernet.config, TOKENS):
                return
            ids = padded().inputs["input_ids"][:1]
            context, first, second = ids[:, :5], ids[:, 5:7], ids[:, 7:]
            begins = torch.tensor([0] * 5 + [5] * 2 + [7] * (TOKENS - 7))
            places = torch.arange(TOKENS)
            mask = (places <= places[:, None]) & (
                (begins == begins[:, None]) | (places < context.shape[1])
            )
            inputs: Inputs = {
                "input_ids": ids,
                "attention_mask": mask[None, None],
                "position_ids": torch.where(places < 7, places, places - 2)[None],
            }
            for subnet in (supernet.space.maximal, supernet.space.minimal):
                shared = logits(supernet, subnet, Batch(inputs, places[:1]))
                for part, where in ((first, slice(5, 7)), (second, slice(7, TOKENS))):
                    alone: Inputs = {"input_ids": torch.cat((context, part), dim=1)}
                    expected = logits(supernet, subnet, Batch(alone, places[:1]))
                    close(shared[:, where], expected[:, context.shape[1] :])

    def test_tokens_end_to_end_see_those_before_them_in_their_own_row_alone(self) -> None:
        """Rows of unlike lengths in a pack, against each by itself, in causal families."""
        with self.supernet() as supernet:
            if not (self.family.is_causal and self.family.takes_packs):
                return
            lengths = (3, 1, TOKENS, 7)
            rows = [padded().inputs["input_ids"][:1, :length] for length in lengths]
            packed: Inputs = {
                "input_ids": torch.cat(rows, dim=1),
                "position_ids": torch.cat([torch.arange(each) for each in lengths])[None],
                "packing": Packing.of(lengths),
            }
            for subnet in some_subnets(supernet.space):
                found = logits(supernet, subnet, Batch(packed, torch.arange(len(rows))))
                alone = [
                    logits(supernet, subnet, Batch({"input_ids": row}, torch.arange(1)))
                    for row in rows
                ]
                close(found, torch.cat(alone, dim=1))

    def test_subnets_write_what_the_stock_model_writes(self) -> None:
        """With caches and rows that leave, as ``generate()`` of the masked model without either."""
        with self.supernet() as supernet:
            if not self.family.is_causal:
                return
            minimal = dict(supernet.space.minimal)
            without_first = supernet.space.subnet({**minimal, "left out": (0,)})
            subnets = [supernet.space.maximal, without_first]
            if self.family.halves:  # of two blocks the last is a feed-forward network alone
                halves = {**minimal, "depth": 2, "left out": ("0.ffn", "1.attention")}
                subnets.append(supernet.space.subnet(halves))
            for subnet in subnets:
                stock = masked_model(supernet, subnet)
                unended = [stock_text(stock, row, beams=1, ends=()) for row in prompts()]
                for beams, ends in ((1, (unended[0][2],)), (4, (unended[0][2], unended[1][3]))):
                    expected = [stock_text(stock, row, beams, ends) for row in prompts()]
                    for shared in (0, BEGUN):
                        assert written(supernet, subnet, beams, ends, shared) == expected

    def test_subnets_that_share_the_reading_of_prompts_read_on_with_the_very_bits(self) -> None:
        """From another's first blocks; what they read is not read again."""
        with self.supernet() as supernet:
            if not self.family.is_causal:
                return
            prefixes = PrefixCache(2**30).of(supernet, [padded()], reads_on=True)
            spared = 0
            for subnet in some_subnets(supernet.space, 1) * 2:
                with torch.inference_mode(), prefixes.shared(subnet) as splice:
                    spared += splice.first
                    shared = read_on(activate(supernet, subnet, splice))
                    alone = read_on(activate(supernet, subnet))
                assert torch.equal(shared, alone)
            assert spared > 0

    def test_activating_leaves_the_super_network_as_it_was(self) -> None:
        """Subnets share the weights of the model, and change none."""
        with self.supernet() as supernet:
            before = logits(supernet, supernet.space.maximal, padded())
            logits(supernet, supernet.space.minimal, padded())
            assert torch.equal(logits(supernet, supernet.space.maximal, padded()), before)

    def test_costs_are_what_torch_counts(self) -> None:
        """``torch_flops`` as torch's counter has them, ``params`` those of the exported file."""
        with self.supernet() as supernet, tempfile.TemporaryDirectory() as written:
            supernet.model.set_attn_implementation("eager")  # the counter sees both products
            model = cost_model(supernet)
            inputs: Inputs = {"input_ids": padded().inputs["input_ids"][:1]}
            for number, subnet in enumerate(some_subnets(supernet.space)):
                active = activate(stock_blocks(supernet), subnet)
                with torch.inference_mode(), FlopCounterMode(display=False) as counter:
                    active.logits(inputs)
                cost = cost_report(model, subnet, TOKENS)
                assert cost.torch_flops == counter.get_total_flops()
                folder = exported(supernet, subnet, Path(written) / f"costs{number}")
                file = transformers.modeling_utils.load_state_dict(folder / "model.safetensors")
                assert cost.params == sum(tensor.numel() for tensor in file.values())
                assert cost.weight_bytes == sum(tensor.nbytes for tensor in file.values())

    def test_a_token_costs_what_torch_counts_and_its_cache_holds_what_is_said(self) -> None:
        """The last of a sequence, with Transformers' keys and values of those before it.

        Not where a token sees the latest ones alone: costs know no windows.
        """
        with self.supernet() as supernet:
            window = getattr(supernet.config, self.family.sliding_window or "", None)
            if not self.family.is_causal or (window is not None and window < TOKENS):
                return
            supernet.model.set_attn_implementation("eager")
            model = cost_model(supernet)
            ids = padded().inputs["input_ids"][:1]
            for subnet in some_subnets(supernet.space, 2):
                active = activate(supernet, subnet)
                cache = DynamicCache(config=supernet.config)
                with torch.inference_mode():
                    _continue(active, ids[:, :-1], cache)
                    with FlopCounterMode(display=False) as counter:
                        _continue(active, ids[:, -1:], cache)
                cost = cost_report(model, subnet, TOKENS)
                assert cost.gflops_per_token == counter.get_total_flops() / 2 / 1e9
                layers: Any = cache.layers
                pairs = ((layer.keys, layer.values) for layer in layers)
                kept = (part for pair in pairs for part in pair if part is not None)
                assert cost.kv_bytes == sum(part.nbytes for part in kept)

    def test_an_exported_subnet_is_a_stock_model(self) -> None:
        """One that a config can say, without code; any other with the code in its folder."""
        with self.supernet() as supernet, tempfile.TemporaryDirectory() as written:
            for number, subnet in enumerate((*some_subnets(supernet.space, 2),)):
                name = f"{self.family.model_type}_{number}"
                folder = exported(supernet, subnet, Path(written) / name)
                loaded = stock_model(supernet, folder)
                close(stock_logits(loaded, padded()), logits(supernet, subnet, padded()))
                if self.family.is_causal:
                    cached, whole = (
                        [stock_text(loaded, row, 1, (), use_cache=cached) for row in prompts()]
                        for cached in (True, False)
                    )
                    assert cached == whole
            assert not list((Path(written) / f"{self.family.model_type}_0").glob("*.py"))

    @contextmanager
    def supernet(self, *, adapted: bool = True) -> Iterator[Supernet]:
        """A small super-network of the family, read from a folder that lives as long."""
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = write_checkpoint(
                Path(folder), self.family, adapted=adapted, **self.options
            )
            yield read_supernet(checkpoint)


def padded(vocabulary: int = VOCABULARY) -> Batch:
    """Rows of random tokens, each one token shorter than the one before."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, vocabulary, (ROWS, TOKENS), generator=generator)
    is_token = torch.arange(TOKENS) < TOKENS - torch.arange(ROWS)[:, None]
    inputs: Inputs = {"input_ids": ids * is_token, "attention_mask": is_token[:, None, None]}
    return Batch(inputs, torch.arange(ROWS))


def prompts() -> list[list[int]]:
    """Rows of random tokens of different lengths, which begin alike."""
    ids = padded().inputs["input_ids"].tolist()
    return [[*ids[0][:BEGUN], *(token for token in row[BEGUN:] if token)] for row in ids]


def written(
    supernet: Supernet, subnet: SubnetConfig, beams: int, ends: tuple[int, ...], shared: int
) -> list[list[int]]:
    """The tokens that a subnet writes behind all prompts at once, whose first are ``shared``."""
    decoding = Decoding(NEW_TOKENS, ends=ends, beams=beams)
    with torch.inference_mode():
        rows = replace(Prompts.of(prompts(), 0), shared=shared).in_parts(TOKENS)
        active = activate(supernet, subnet)
        return generated_tokens(active, rows, decoding, decode=lambda _: [])


def read_on(active: ActiveSubnet) -> torch.Tensor:
    """A subnet's logits behind all prompts, and behind a token more."""

    def run(model: nn.Module) -> torch.Tensor:
        rows = replace(Prompts.of(prompts(), 0), shared=BEGUN).in_parts(TOKENS)
        reader = TokenReader(model, rows, active.beginning())
        first = reader.logits
        reader.read(torch.full((ROWS,), TOKENS))
        return torch.stack([first, reader.logits])

    return running(active, run)


def stock_text(
    model: PreTrainedModel,
    row: list[int],
    beams: int,
    ends: tuple[int, ...],
    *,
    use_cache: bool = False,
) -> list[int]:
    """The tokens that a model of Transformers writes behind one prompt, its end left out."""
    ids = torch.tensor([row])
    generated: Any = model.generate(  # type: ignore[operator]
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=NEW_TOKENS,
        num_beams=beams,
        do_sample=False,
        use_cache=use_cache,
        eos_token_id=list(ends) or None,
        pad_token_id=0,
    )
    tokens: list[int] = generated[0, len(row) :].tolist()
    return tokens[: min((tokens.index(end) for end in ends if end in tokens), default=NEW_TOKENS)]


def _continue(active: ActiveSubnet, ids: torch.Tensor, cache: DynamicCache) -> None:
    """Run a subnet on what comes behind the tokens that ``cache`` holds."""
    called = {"input_ids": ids, "past_key_values": cache}
    functional_call(active.model, active.tensors, (), called, tie_weights=False)


def stock_blocks(supernet: Supernet) -> Supernet:
    """The super-network with blocks run as Transformers runs them, whatever the family can do."""
    return replace(supernet, family=replace(supernet.family, after_attention=None))


def logits(supernet: Supernet, subnet: SubnetConfig, batch: Batch) -> torch.Tensor:
    """What a subnet gives for a batch."""
    with torch.inference_mode():
        return activate(supernet, subnet).logits(batch.inputs)


def stock_model(
    supernet: Supernet, folder: Path, dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """What Transformers itself loads from a folder."""
    auto_class = getattr(transformers, supernet.task_head.auto_class)
    model: PreTrainedModel = auto_class.from_pretrained(folder, dtype=dtype, trust_remote_code=True)
    return model


def stock_logits(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """What a model of Transformers gives for a batch, called as its users call it."""
    mask = batch.inputs["attention_mask"].flatten(1).long()
    with torch.inference_mode():
        return output_logits(model(input_ids=batch.inputs["input_ids"], attention_mask=mask))


def masked_model(supernet: Supernet, subnet: SubnetConfig) -> PreTrainedModel:
    """The full model with adapters merged, zeros where a subnet reads nothing, and fewer blocks."""
    family, model = supernet.family, copy.deepcopy(supernet.model)
    for layer in range(supernet.num_layers):
        chosen = {d.part: subnet[d.name] for d in supernet.space.dimensions if d.layer == layer}
        with torch.no_grad():
            for module in family.modules(layer, list(Role)):
                if (adapter := supernet.adapters.get(module)) is not None:
                    rank = chosen.get(RANK, len(adapter.a))
                    branch = adapter.b[:, :rank] @ adapter.a[:rank]
                    model.get_parameter(f"{module}.weight").add_(adapter.scaling * branch)
            channels = family.head_channels(Role.ATTENTION_OUTPUT, supernet.config)
            heads = chosen.get(HEADS, family.num_kv_heads(supernet.config))
            for role, width in (
                (Role.ATTENTION_OUTPUT, heads * channels),
                (Role.FFN_OUT, chosen[FFN]),
            ):
                model.get_parameter(f"{family.module(layer, role)}.weight")[:, width:] = 0
    blocks = model.get_submodule(family.layers)
    halves = active_halves(supernet, subnet)
    kept = tuple(halves)
    for block in kept:
        for half in {*HALVES} - {*halves[block]}:
            _remove(model, family, block, half)
    model.config.use_cache = False  # its places are those of the full model's blocks
    for dropped in {*range(supernet.num_layers)} - {*kept}:
        del blocks._modules[str(dropped)]
    for name in family.per_layer:
        setattr(model.config, name, [getattr(model.config, name)[block] for block in kept])
    return model


def _remove(model: PreTrainedModel, family: Family, block: int, half: Half) -> None:
    """Have half a block change nothing: what a decoder adds is zero, an encoder passes it by."""
    if family.is_causal:
        role = Role.ATTENTION_OUTPUT if half == "attention" else Role.FFN_OUT
        for parameter in model.get_submodule(family.module(block, role)).parameters():
            parameter.detach().zero_()
        return
    for part, gives in family.halves[half].parts.items():
        model.get_submodule(f"{family.layers}.{block}")._modules[part] = StandIn(gives)


def exported(supernet: Supernet, subnet: SubnetConfig, folder: Path) -> Path:
    """The folder of a subnet's weights."""
    folder.mkdir()
    card = SubnetCard(
        supernet_name="tiny",
        dataset_name="words",
        dataset_rows=ROWS,
        search_id="s",
        number=1,
        metrics={},
        cost={},
        max_length=TOKENS,
    )
    write_transformers_folder(supernet, subnet, card, folder)
    return folder


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal but for the last bits, in which sums of another order differ."""
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
