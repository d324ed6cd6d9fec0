"""The operations of heterogeneous layers, against code that is not ours."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertForSequenceClassification, ConvBertConfig
from transformers.models.convbert.modeling_convbert import ConvBertSelfAttention
from transformers.models.fnet.modeling_fnet import FNetBasicFourierTransform, FNetConfig

from elasticnas.search.cost import cost_report
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.export.lazy_tensors import subnet_tensors
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.forward.prefixes import PrefixCache
from elasticnas.supernet.measuring.examples import Batch
from elasticnas.supernet.operations import OPERATIONS
from elasticnas.supernet.operations.config import FlexiBertConfig
from elasticnas.supernet.operations.dynamic_convolution import places_of_taps
from elasticnas.supernet.operations.model import FlexiBertForSequenceClassification
from elasticnas.supernet.supernet import Supernet
from tests.supernet.heterogeneous import (
    SIZES,
    drawn,
    small_model,
    with_operation,
    write_heterogeneous,
)

ROWS, TOKENS, HIDDEN, HEADS = 3, 11, 24, 4
LENGTHS = (11, 7, 2)


@pytest.fixture(scope="module")
def supernet(tmp_path_factory: pytest.TempPathFactory) -> Supernet:
    return read_supernet(write_heterogeneous(tmp_path_factory.mktemp("heterogeneous")))


@pytest.fixture
def hidden() -> Iterator[torch.Tensor]:
    with torch.inference_mode():
        yield torch.randn(ROWS, TOKENS, HIDDEN, generator=torch.Generator().manual_seed(1))


WHOLE = torch.ones(ROWS, TOKENS, dtype=torch.bool)


def operation(name: str, **sizes: int) -> tuple[Any, Any]:
    """An operation of the first layer, and the projections that it reads."""
    layer: Any = small_model(**sizes).bert.encoder.layer[0]
    return layer.operations[name], layer.attention


def test_a_cosine_transform_is_scipys(hidden: torch.Tensor) -> None:
    found, _ = operation("dct")
    for got, given in zip(found.transform(hidden, WHOLE).numpy(), hidden.numpy(), strict=True):
        np.testing.assert_allclose(got, dctn(given, norm="ortho"), atol=1e-5)


def test_a_fourier_transform_is_fnets(hidden: torch.Tensor) -> None:
    found, _ = operation("dft")
    (stock,) = FNetBasicFourierTransform(FNetConfig(hidden_size=HIDDEN))(hidden)
    scale = math.sqrt(2 / (TOKENS * HIDDEN))
    torch.testing.assert_close(found.transform(hidden, WHOLE), stock * scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kernel", [9, 5])
def test_a_convolution_is_convberts(hidden: torch.Tensor, kernel: int) -> None:
    """With ConvBERT's generator block-diagonal, as ours is, and its values from our layer."""
    own, attention = operation("conv", heads=2)
    config = ConvBertConfig(
        hidden_size=HIDDEN, num_attention_heads=2, head_ratio=1, conv_kernel_size=kernel
    )
    stock: Any = ConvBertSelfAttention(config).eval()
    projections = attention.self
    places = [place for place in places_of_taps(9) if place < kernel]
    generator = torch.block_diag(*own.generator.weight[:, places])
    with torch.no_grad():
        stock.query.load_state_dict(projections.query.state_dict())
        stock.conv_out_layer.load_state_dict(projections.value.state_dict())
        stock.conv_kernel_layer.weight.copy_(generator)
        stock.conv_kernel_layer.bias.copy_(own.generator.bias[:, places].flatten())
        separable = stock.key_conv_attn_layer
        separable.depthwise.weight.copy_(own.depthwise.weight[:, places][:, None])
        separable.pointwise.weight.copy_(projections.key.weight[..., None])
        separable.bias.copy_(projections.key.bias[:, None])
        own.depthwise.weight = torch.nn.Parameter(own.depthwise.weight[:, :kernel])
        own.generator.weight = torch.nn.Parameter(own.generator.weight[:, :kernel])
        own.generator.bias = torch.nn.Parameter(own.generator.bias[:, :kernel])
        context, *_ = stock(hidden)  # (rows, tokens, attention's half and the convolution's)
    expected = attention.output.dense(context[..., HIDDEN // 2 :])
    torch.testing.assert_close(own(hidden, WHOLE, attention), expected, rtol=0, atol=1e-5)


def test_weighted_multiplication_by_the_identity_is_the_scaled_dot_product(
    hidden: torch.Tensor,
) -> None:
    own, attention = operation("wma")
    plain, _ = operation("sdp")
    assert not torch.allclose(own(hidden, WHOLE, attention), plain(hidden, WHOLE, attention))
    own.weight = torch.nn.Parameter(torch.eye(HIDDEN // HEADS), requires_grad=False)
    torch.testing.assert_close(own(hidden, WHOLE, attention), plain(hidden, WHOLE, attention))


def test_scaled_dot_products_alone_are_stock_bert() -> None:
    torch.manual_seed(0)
    stock = BertForSequenceClassification(BertConfig(**SIZES)).eval()
    own = FlexiBertForSequenceClassification(FlexiBertConfig(**SIZES)).eval()
    own.load_state_dict(stock.state_dict())
    inputs, mask = padded(TOKENS)
    with torch.inference_mode():
        expected = stock(input_ids=inputs, attention_mask=mask).logits
        found = own(input_ids=inputs, attention_mask=mask).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def padded(tokens: int, rows: tuple[int, ...] = (0, 1, 2)) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask (rows, tokens) of some rows; whatever stands in the padding."""
    generator = torch.Generator().manual_seed(2)
    every = torch.randint(5, 32, (ROWS, TOKENS), generator=generator)
    ids = torch.randint(5, 32, (len(rows), tokens))
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : LENGTHS[row]] = every[row, : LENGTHS[row]]
        mask[place, : LENGTHS[row]] = 1
    return ids, mask


def logits(supernet: Supernet, subnet: SubnetConfig, tokens: int, *rows: int) -> torch.Tensor:
    ids, mask = padded(tokens, rows)
    with torch.inference_mode():
        return activate(supernet, subnet).logits({"input_ids": ids, "attention_mask": mask})


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_no_operation_sees_padding(supernet: Supernet, name: str) -> None:
    """A row alone, beside others, and in a batch padded to 64 tokens."""
    subnet = with_operation(supernet, name)
    alone = torch.cat([logits(supernet, subnet, LENGTHS[row], row) for row in range(ROWS)])
    together = logits(supernet, subnet, TOKENS, 0, 1, 2)
    far = logits(supernet, subnet, 64, 0, 1, 2)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(far, alone, rtol=0, atol=1e-5)
    assert alone.std() > 1e-2


def test_costs_are_what_torch_counts(supernet: Supernet) -> None:
    """All multiply-accumulates, the transforms dense as they run; and the file's parameters."""
    model = cost_model(supernet)
    ids = padded(TOKENS)[0][:1]
    for subnet in drawn(supernet, 100):
        active = activate(supernet, subnet)
        with (
            torch.inference_mode(),
            sdpa_kernel(SDPBackend.MATH),
            FlopCounterMode(display=False) as counter,
        ):
            active.logits({"input_ids": ids})
        cost = cost_report(model, subnet, TOKENS)
        assert cost.torch_flops == counter.get_total_flops()
        held = subnet_tensors(supernet, subnet).values()
        assert cost.params == sum(math.prod(each.shape) for each in held)


def test_a_prefix_gives_the_very_bits(supernet: Supernet) -> None:
    ids, mask = padded(TOKENS)
    batch = Batch({"input_ids": ids, "attention_mask": mask[:, None, None].bool()}, torch.arange(3))
    prefixes = PrefixCache(2**30).of(supernet, [batch])
    spared = 0
    for subnet in drawn(supernet, 12) * 2:
        with torch.inference_mode():
            with prefixes.shared(subnet) as splice:
                spared += splice.first
                shared = activate(supernet, subnet, splice).logits(batch.inputs)
            assert torch.equal(shared, activate(supernet, subnet).logits(batch.inputs))
    assert spared > 0


def test_a_join_begins_as_truncation_and_zero_padding(tmp_path: Path) -> None:
    """A narrower layer behind a wide one reads its first channels, a wider one zeros beyond."""
    folder = write_heterogeneous(tmp_path)
    supernet = read_supernet(folder)
    state = dict(supernet.model.named_parameters())
    for place in (1, 2):
        weight = state[f"bert.encoder.layer.{place}.join.weight"]
        weight.data = torch.eye(HIDDEN)
        state[f"bert.encoder.layer.{place}.join.bias"].data = torch.zeros(HIDDEN)
    subnet = supernet.space.subnet({"layer.1.hidden": 12})
    model: Any = activate(supernet, subnet)
    layers = model.model.bert.encoder.layer
    assert "join" in layers[1]._modules
    assert "join" in layers[2]._modules
    assert "join" not in layers[0]._modules
    down = model.tensors["bert.encoder.layer.1.join.weight"]
    up = model.tensors["bert.encoder.layer.2.join.weight"]
    given = torch.randn(HIDDEN)
    assert torch.equal(down @ given, given[:12])
    assert torch.equal(up @ given[:12], torch.cat((given[:12], torch.zeros(12))))
    uniform = activate(supernet, supernet.space.maximal)
    assert not any("join" in name for name in uniform.tensors)
