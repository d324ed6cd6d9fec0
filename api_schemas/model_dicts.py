"""FlexiBERT's way to write an architecture down: its ``modelDict``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from elasticnas.api_schemas.fields import MAX_INT32, Name

MAX_LAYERS = 1000

LISTS = {
    "o": "attention_type",
    "h": "hidden_dim_list",
    "n": "attention_heads_list",
    "f": "ff_dim_list",
    "p": "similarity_list",
}
"""The lists of a ``modelDict``, and what FlexiBERT's config files call them."""

KINDS = {"sdp": "sa", "wma": "sa", "conv": "c", "dft": "l", "dct": "l"}
"""FlexiBERT's kinds of operations (Tuli et al. 2022, table 1)."""
CONVOLUTION = "c"
"""The kind whose parameter is no name but a kernel."""

Size = Annotated[int, Field(ge=1, le=MAX_INT32, strict=True)]


class ModelDict(BaseModel):
    """An architecture, each list with an entry for each of ``l`` layers.

    Tuli et al. 2022, "FlexiBERT", section 3.1; jha-lab/txf_design-space,
    ``embeddings/utils/graph_util.py``. Of a layer: the kind of its operation ``o`` with the
    parameter ``p``, which is the kernel of a convolution; the hidden size ``h``, heads ``n``, and
    the neurons ``f`` of each feed-forward layer before the last.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    l: Annotated[int, Field(ge=1, le=MAX_LAYERS, strict=True)]  # noqa: E741 - as FlexiBERT has it
    o: Annotated[list[Name], Field(max_length=MAX_LAYERS, examples=[["sa", "l", "c"]])]
    p: Annotated[list[Size | Name], Field(max_length=MAX_LAYERS, examples=[["wma", "dct", 9]])]
    h: Annotated[list[Size], Field(max_length=MAX_LAYERS)]
    n: Annotated[list[Size], Field(max_length=MAX_LAYERS)]
    f: Annotated[
        list[Annotated[list[Size], Field(min_length=1, max_length=16)]],
        Field(max_length=MAX_LAYERS, examples=[[[512, 512], [1024], [512]]]),
    ]


class ModelDictRequest(BaseModel):
    """Body of ``POST /v1/supernets/{id}/model-dict``: an architecture to name and to price."""

    model_config = ConfigDict(extra="forbid")

    model_dict: ModelDict
    max_length: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = None


def model_dict_of(told: dict[str, Any]) -> dict[str, Any]:
    """The fields of a ``modelDict`` in one, or in a config of FlexiBERT's or of an export.

    What is missing is left out; anything else in a config is not about the architecture.
    """
    if not set(LISTS.values()) & set(told):
        return told
    found = {"l": told.get("num_hidden_layers")}
    return found | {key: told[name] for key, name in LISTS.items() if name in told}
