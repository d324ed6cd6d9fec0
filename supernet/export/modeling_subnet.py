"""The code in the folder of a subnet that no stock config can say. Needs torch and transformers."""

from __future__ import annotations

import inspect

from torch import nn
from transformers import PreTrainedModel

from elasticnas.supernet.families.family import Family, Role, TaskHead
from elasticnas.supernet.forward.stand_in import StandIn

FILE = "modeling_subnet.py"

_TEXT = '''"""A stock model of Transformers whose linear layers have widths of their own.

Written by ElasticNAS into the folder of an exported subnet, beside its weights. `config.json` lists
in `linear_shapes` each layer that differs from what the rest of the config implies, as
`{{"module name": [outputs, inputs]}}`, and in `left_out` the parts of blocks that are not there, as
`{{"module name": what stands in for it}}`. Needs torch and transformers, nothing else.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import {config_class}, {model_class}, PreTrainedModel


{stand_in}

{leave_out}

{resize}

class Subnet{model_class}({model_class}):
    """`{model_class}` with its own width in every layer."""

    def __init__(self, config: {config_class}) -> None:
        super().__init__(config)
        leave_out(self)
        resize_linear_layers(self, {query!r}, {head_count!r}, {head_width!r})
'''


def subnet_code(family: Family, task_head: TaskHead) -> str:
    """The text of `FILE`, with the class ``Subnet<model class>``."""
    return _TEXT.format(
        config_class=family.config_class.__name__,
        model_class=task_head.model_class.__name__,
        stand_in=inspect.getsource(StandIn),
        leave_out=inspect.getsource(leave_out),
        resize=inspect.getsource(resize_linear_layers),
        query=_query(family).rpartition(".")[2],
        head_count=family.head_count,
        head_width=family.head_width,
    )


def given_widths(model: PreTrainedModel, family: Family) -> PreTrainedModel:
    """A stock model, itself, as the code in the folder makes it of its config."""
    leave_out(model)
    query = _query(family).rpartition(".")[2]
    resize_linear_layers(model, query, family.head_count, family.head_width)
    return model


def _query(family: Family) -> str:
    """The linear layer of a block that gives the queries, by itself or with keys and values."""
    roles = (role for role in (Role.QUERY, Role.QKV) if role in family.linears)
    return next((family.linears[role] for role in roles), "")


def leave_out(model: PreTrainedModel) -> None:
    """Put stand-ins in the places of the modules named in `left_out`."""
    for name, gives in model.config.left_out.items():
        parent, _, attribute = name.rpartition(".")
        stock = model.get_submodule(name)
        stand_in = StandIn(gives, getattr(stock, "layer_idx", None))
        setattr(model.get_submodule(parent), attribute, stand_in)


def resize_linear_layers(
    model: PreTrainedModel, query: str, head_count: str | None, head_width: str | None
) -> None:
    """Give each layer named in `linear_shapes` its own shape, and its attention its own heads."""
    for name, (outputs, inputs) in model.config.linear_shapes.items():
        parent, attribute = model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]
        stock = getattr(parent, attribute)
        setattr(parent, attribute, nn.Linear(inputs, outputs, bias=stock.bias is not None))
        if attribute == query and head_count:
            heads = getattr(parent, head_count) * outputs // stock.out_features
            setattr(parent, head_count, heads)
        if attribute == query and head_width:
            setattr(parent, head_width, outputs)
