"""The ``onnx`` format: the subnet as a graph that ONNX Runtime and others run without torch.

The graph is traced from the very model that the ``transformers`` format's folder loads as. Rows and
tokens may be any number. Nothing of the tracing stays in the file but what computes: neither where
our code lay, nor a tensor of an operation that was not chosen.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim
from transformers import PreTrainedModel

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.weights import SubnetCard, WeightsFormat
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.tokenizer import copy_tokenizer
from elasticnas.supernet.export.lazy_tensors import subnet_tensors
from elasticnas.supernet.export.model_card import write_model_card
from elasticnas.supernet.export.transformers_folder import described
from elasticnas.supernet.families.family import Family, HeadKind
from elasticnas.supernet.supernet import Supernet

FILE = "model.onnx"
OPSET = 18
"""Of the standard operators; ONNX Runtime has it since 1.14, of early 2023."""
PACKAGES = ("onnx", "onnxscript")
LARGEST = 2**31 - 2**20
"""Bytes of weights: the file is one message of Protocol Buffers, of less than 2 GiB."""

OUTPUTS = {
    HeadKind.CLASSIFIER: ("logits",),
    HeadKind.SPANS: ("start_logits", "end_logits"),
}
"""What the graph gives, for each head that is traced."""


def require_onnx() -> None:
    """Have the packages that trace a graph.

    Raises:
        InputError: one is not installed.
    """
    if missing := [package for package in PACKAGES if find_spec(package) is None]:
        raise InputError(
            f"this worker cannot write ONNX files: it has no {' and no '.join(missing)}",
            field="format",
            value="onnx",
            remedy="pip install 'elasticnas[onnx]' where workers run, or ask for "
            "format=transformers",
        )


def write_onnx_folder(
    supernet: Supernet, subnet: SubnetConfig, card: SubnetCard, folder: Path
) -> None:
    """Write `FILE`, config, tokenizer and model card. Weights are in float32.

    The whole subnet is in memory for the time, twice.

    Raises:
        InputError: a package is missing, the model is a language model, or it is too large for one
            file.
    """
    require_onnx()
    _require_traceable(supernet)
    tensors = subnet_tensors(supernet, subnet)
    told = described(supernet, subnet, tensors)
    model = told.build()
    state = {name: each.make().float() for name, each in tensors.items()}
    if sum(each.nbytes for each in state.values()) > LARGEST:
        raise _refusal("the weights take more than 2 GiB, which is the most that one file holds")
    model.load_state_dict(state)
    model.train(False)
    _write_graph(model, supernet, folder / FILE)
    told.config.__dict__.pop("auto_map", None)  # no code is in this folder
    told.config.dtype = torch.float32
    told.config.save_pretrained(folder)
    copy_tokenizer(supernet.base_folder, folder)
    nonzero = sum(int(torch.count_nonzero(each)) for each in state.values())
    write_model_card(folder, supernet, subnet, card, WeightsFormat.ONNX, nonzero)


def _require_traceable(supernet: Supernet) -> None:
    if supernet.task_head.kind not in OUTPUTS:
        raise _refusal(
            f"a language model of type {supernet.family.model_type} is not written as ONNX, which "
            "would have to hold its cache of keys and values; classifiers, regressions and "
            "extractive question answering are"
        )


def _refusal(message: str) -> InputError:
    remedy = "ask for format=transformers"
    return InputError(message, field="format", value="onnx", remedy=remedy)


class _Traced(nn.Module):
    """A model that gives what ``outputs`` names, and nothing else."""

    def __init__(self, model: PreTrainedModel, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.outputs = outputs

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """What is given is (rows, tokens) each."""
        kinds = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        found = self.model(input_ids=input_ids, attention_mask=attention_mask, **kinds)
        return tuple(found[name] for name in self.outputs)


def _inputs(family: Family) -> tuple[str, ...]:
    return ("input_ids", "attention_mask", *(("token_type_ids",) if family.type_ids else ()))


def _write_graph(model: PreTrainedModel, supernet: Supernet, file: Path) -> None:
    import onnx

    inputs, outputs = _inputs(supernet.family), OUTPUTS[supernet.task_head.kind]
    # Two rows of three tokens, one of them padding: no length is taken for a constant.
    given = {name: torch.zeros(2, 3, dtype=torch.long) for name in inputs}
    given["input_ids"] += 1 + int(model.config.pad_token_id or 0)
    given["attention_mask"] = torch.tensor([[1, 1, 1], [1, 1, 0]])
    lengths = {0: Dim("batch"), 1: Dim("sequence")}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced = torch.onnx.export(
            _Traced(model, outputs),
            tuple(given.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=dict.fromkeys(inputs, lengths),
            verbose=False,
        )
    assert traced is not None
    proto = traced.model_proto
    _forget_tracing(proto)
    onnx.checker.check_model(proto)
    onnx.save_model(proto, file)


def _forget_tracing(proto: Any) -> None:
    """Take out what the tracer wrote down of our code, and the name of the module around it all."""
    for graph in (proto.graph, *proto.functions):
        for part in _parts(graph):
            del part.metadata_props[:]
            part.doc_string = ""
    del proto.metadata_props[:]


def _parts(graph: Any) -> Iterable[Any]:
    yield graph
    yield from graph.node
    yield from graph.value_info
