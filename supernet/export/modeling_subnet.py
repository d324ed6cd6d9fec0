"""Stock Transformers sequence classifiers whose linear layers have widths of their own.

Written by ElasticNAS into the folder of an exported subnet, beside its weights. `config.json` lists
in `linear_shapes` each layer that differs from what the rest of the config implies, as
`{"module name": [outputs, inputs]}`. Needs torch and transformers, nothing else.
"""

from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)


def resize_linear_layers(model: PreTrainedModel) -> None:
    """Give each layer named in `linear_shapes` its own shape, and its attention its own heads."""
    for name, (outputs, inputs) in model.config.linear_shapes.items():
        parent = model.get_submodule(name.rpartition(".")[0])
        attribute = name.rpartition(".")[2]
        linear = getattr(parent, attribute)
        has_bias = linear.bias is not None
        setattr(parent, attribute, nn.Linear(inputs, outputs, bias=has_bias))
        if attribute in ("query", "q_lin"):
            heads = outputs // parent.attention_head_size
            for count in ("num_attention_heads", "n_heads"):
                if hasattr(parent, count):
                    setattr(parent, count, heads)
            for width in ("all_head_size", "dim"):
                if hasattr(parent, width):
                    setattr(parent, width, outputs)


class SubnetBertForSequenceClassification(BertForSequenceClassification):
    """`BertForSequenceClassification` with its own width in every layer."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        resize_linear_layers(self)


class SubnetRobertaForSequenceClassification(RobertaForSequenceClassification):
    """`RobertaForSequenceClassification` with its own width in every layer."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        resize_linear_layers(self)


class SubnetDistilBertForSequenceClassification(DistilBertForSequenceClassification):
    """`DistilBertForSequenceClassification` with its own width in every layer."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        resize_linear_layers(self)
