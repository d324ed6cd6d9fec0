"""The config of a BERT whose layers differ: `config.json` says of each what it is made of."""

from __future__ import annotations

from typing import Any

from transformers import BertConfig

FURTHER = ("middle", "third")
"""What the feed-forward layers between a layer's first and its last are called, in order."""


class FlexiBertConfig(BertConfig):  # type: ignore[no-untyped-call]
    """BERT's config, and ``layers``: one object for each layer.

    ``operations`` are those that the layer has weights of, ``hidden`` its channels, ``reads`` those
    of the layer before it (None: no projection between them), ``heads`` of ``head_size`` channels,
    ``kernel`` of its convolution, ``ffn`` the neurons of its first feed-forward layer, ``middle``
    and ``third`` those of the second and the third before the last (0: it is not there).
    """

    model_type = "flexibert"

    def __init__(self, layers: list[dict[str, Any]] | None = None, **options: Any) -> None:
        super().__init__(**options)
        stock = {
            "operations": ["sdp"],
            "hidden": self.hidden_size,
            "reads": None,
            "heads": self.num_attention_heads,
            "head_size": self.hidden_size // self.num_attention_heads,
            "kernel": 9,
            "ffn": self.intermediate_size,
            "middle": 0,
            "third": 0,
        }
        given = layers or [{} for _ in range(self.num_hidden_layers)]
        self.layers = [{**stock, **layer} for layer in given]
