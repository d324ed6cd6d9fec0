"""What a family of models is: everything that is specific to it, in one value.

Cuts, costs, activation and exports follow from that value and from the model's own shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import Half
from elasticnas.api_schemas.supernets import HeadKind as HeadKind
from elasticnas.supernet.checkpoint.options import Option
from elasticnas.supernet.families.config_fields import ConfigFields
from elasticnas.supernet.operations.operation import Operation


class Role(StrEnum):
    """What a linear layer does in a block, in the order in which data meets them."""

    QUERY = "query"
    KEY = "key"
    VALUE = "value"
    QKV = "qkv"
    """Query, key and value in one, interleaved head by head, as in BLOOM."""
    ATTENTION_OUTPUT = "attention_output"
    FFN_IN = "ffn_in"
    FFN_GATE = "ffn_gate"
    """What the first FFN layer's outputs are multiplied by (Shazeer 2020, "GLU variants")."""
    FFN_OUT = "ffn_out"


LONGEST = 1_000_000
"""Tokens of the longest sequence that any model is asked to read."""

ATTENTION_ROLES = (Role.QUERY, Role.KEY, Role.VALUE, Role.QKV)
"""The linear layers whose outputs are attention heads."""

FFN_ROLES = (Role.FFN_IN, Role.FFN_GATE)
"""The linear layers whose outputs are FFN neurons."""


@dataclass(frozen=True)
class TaskHead:
    """A model class of Transformers, and the layers that it has behind the blocks.

    ``logits`` is the linear module that gives the logits. ``one_token`` are the linear modules that
    see one token of each row, ``trained`` those that fine-tuning adds to a pretrained model.
    ``reads_first_token`` says that nothing behind the blocks looks at another token.
    """

    kind: HeadKind
    model_class: type[PreTrainedModel]
    logits: str
    one_token: tuple[str, ...] = ()
    trained: tuple[str, ...] = ()
    reads_first_token: bool = False

    @property
    def linears(self) -> tuple[str, ...]:
        """The linear modules behind the blocks."""
        return (*self.one_token, self.logits)

    @property
    def auto_class(self) -> str:
        """The class of Transformers that loads such a model by its ``config.json``."""
        return _AUTO_CLASSES[self.kind]

    @property
    def task_type(self) -> str:
        """What PEFT calls the task of an adapter for such a model."""
        return TASK_TYPES[self.kind]


_AUTO_CLASSES = {
    HeadKind.CLASSIFIER: "AutoModelForSequenceClassification",
    HeadKind.CAUSAL_LM: "AutoModelForCausalLM",
    HeadKind.SPANS: "AutoModelForQuestionAnswering",
}
TASK_TYPES = {
    HeadKind.CLASSIFIER: "SEQ_CLS",
    HeadKind.CAUSAL_LM: "CAUSAL_LM",
    HeadKind.SPANS: "QUESTION_ANS",
}


@dataclass(frozen=True)
class BlockHalf:
    """Attention or the feed-forward network of a block, with its residual and its norm.

    ``parts`` are the modules of a block that this half alone has, each with what a `StandIn` gives
    in its place where the half is left out: ``same`` what it is given, or ``zero``. Then the
    stock block passes on the other half's outcome to the bit. ``reads`` is the module whose input
    is the half's, ``output`` the one whose output is the half's outcome, or with ``adds`` what the
    half adds to its input.
    """

    parts: Mapping[str, str]
    reads: str
    output: str
    adds: bool = False


AfterAttention = Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]
"""A block's output from the block, what attention gave (..., heads * head size) before its output
projection, and the block's input (..., hidden size) for the same tokens."""


KeysAndValues = Callable[
    [nn.Module, torch.Tensor, Mapping[str, Any]], tuple[torch.Tensor, torch.Tensor]
]
"""A block's keys and values, both (rows, heads, tokens, head size), as it puts them into a cache:
from the block, its input (rows, tokens, hidden size) and what it is called with by name."""


OlderOptions = Callable[[PretrainedConfig], Mapping[str, Any]]
"""What Transformers 4 would have written into a config.json of the same model, and Transformers 5
writes under another name."""


@dataclass(frozen=True)
class Family:
    """One ``model_type`` of Transformers.

    ``fields`` is the schema of what is read of a ``config.json``, and ``options`` says what becomes
    of each option in it. ``task_heads`` are the heads that are read, the likeliest first.

    ``model`` is the attribute under which a task's model holds the bare one, ``layers`` the list of
    blocks in it, ``embeddings`` the module whose output is the first block's input, ``words`` (in
    the bare model) that of the tokens. ``linears`` are the linear layers of a block, by role; their
    names are relative to the block. Biases are where the model has them. ``unused`` are beginnings
    of the names of tensors that a bare model may hold without anybody needing them, ``left_over``
    ends of the names of buffers that older programs stored, though they follow from the config.

    ``hidden_size`` to ``depth`` are the config's names for these, ``other_names`` are names that a
    file may have for fields of the config beside those that Transformers knows. A family without
    ``kv_heads`` has as many as heads; one without ``head_dim`` divides the hidden size by the
    heads; one without ``ffn_width`` has four neurons for each channel. ``per_layer`` are the
    config's lists with an entry for each block. ``head_count`` and ``head_width`` are the
    attributes, if any, in which the parent of the query's layer holds its heads and their channels
    together. ``has_elastic_heads``: blocks run with fewer heads as Transformers runs them.

    ``halves`` lets a block run without its attention, or without its feed-forward network; a family
    without runs whole blocks only. ``dropped_out`` is the module that the first block's input comes
    from, as a traced graph names it.

    ``after_attention`` lets a block run on the first tokens alone, and on packed rows; without it
    blocks run only as Transformers runs them. ``block_returns_tuple`` says that a block's output is
    a tuple which begins with the hidden state. ``is_causal``: a token sees those before it only.
    Blocks of a causal family that ``attends_by_interface``, by the attention function that
    Transformers looks up, run on packed rows too.
    ``keys_and_values`` of a causal family lets the last block of a text that is read on run on the
    last token alone, which all others are only seen by.
    ``takes_full_masks`` says whether the stock model takes, beside a mask of padding, any mask
    (rows, 1, tokens, tokens) with any position ids: several continuations of one text can then
    share a sequence (`can_share_a_sequence`). ``sliding_window`` is the config's name for the
    number of tokens that a token sees, itself included.
    ``type_ids`` says whether the model can be told which text of a pair a token belongs to,
    ``positions_after_padding`` whether it counts positions from behind the padding's id on.
    ``old_names`` are parts of tensor names as older programs wrote them, with today's;
    ``stored_names`` beginnings of names that are others in every file than in Transformers 5.
    ``older_options`` are written into exported configs, for Transformers 4 and what reads as it
    does, which would take a default in silence where it finds none.

    ``operations``, where there are any, are what each layer chooses among: the model is then a
    heterogeneous one, whose modules take their sizes from their weights (`operations.model`).
    """

    model_type: str
    config_class: type[PretrainedConfig]
    fields: type[ConfigFields]
    options: Mapping[str, Option]
    task_heads: tuple[TaskHead, ...]
    model: str
    layers: str
    embeddings: str
    words: str
    linears: Mapping[Role, str]
    hidden_size: str = "hidden_size"
    heads: str = "num_attention_heads"
    kv_heads: str | None = None
    head_dim: str | None = None
    ffn_width: str | None = "intermediate_size"
    depth: str = "num_hidden_layers"
    per_layer: tuple[str, ...] = ()
    other_names: Mapping[str, str] = field(default_factory=dict)
    has_elastic_heads: bool = True
    head_count: str | None = None
    head_width: str | None = None
    halves: Mapping[Half, BlockHalf] = field(default_factory=dict)
    dropped_out: str | None = None
    after_attention: AfterAttention | None = None
    block_returns_tuple: bool = False
    is_causal: bool = False
    attends_by_interface: bool = False
    keys_and_values: KeysAndValues | None = None
    takes_full_masks: bool = False
    sliding_window: str | None = None
    type_ids: bool = False
    positions_after_padding: bool = False
    unused: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()
    old_names: Mapping[str, str] = field(default_factory=dict)
    stored_names: Mapping[str, str] = field(default_factory=dict)
    older_options: OlderOptions | None = None
    operations: Mapping[str, Operation] = field(default_factory=dict)

    def module(self, layer: int, role: str) -> str:
        """The full name of a linear layer of a block, e.g. ``module(3, "query")``."""
        return f"{self.layers}.{layer}.{self.linears[Role(role)]}"

    def modules(self, layer: int, roles: Collection[Role]) -> list[str]:
        """The full names of a block's linear layers with these roles, in their order."""
        return [self.module(layer, role) for role in roles if role in self.linears]

    def layer_of(self, name: str) -> int | None:
        """The block that a module or tensor belongs to, None outside the blocks."""
        prefix = f"{self.layers}."
        return int(name.removeprefix(prefix).partition(".")[0]) if name.startswith(prefix) else None

    def half_of(self, name: str) -> Half | None:
        """The half of a block that a module or tensor belongs to; None where there are no halves.

        None as well outside the blocks.
        """
        if (block := self.layer_of(name)) is None:
            return None
        within = name.removeprefix(f"{self.layers}.{block}.")
        for half, told in self.halves.items():
            if any(within == part or within.startswith(f"{part}.") for part in told.parts):
                return half
        return None

    def renumbered(self, name: str, places: Mapping[int, int]) -> str:
        """The name of a module or tensor once each block is at the place that ``places`` gives."""
        if (block := self.layer_of(name)) is None:
            return name
        return name.replace(f"{self.layers}.{block}.", f"{self.layers}.{places[block]}.", 1)

    def role_of(self, module: str) -> tuple[int, Role] | None:
        """The (layer, role) of a module name: the inverse of `module`, None for any other."""
        index, _, rest = module.removeprefix(f"{self.layers}.").partition(".")
        if not module.startswith(f"{self.layers}.") or not index.isdecimal():
            return None
        roles = {path: role for role, path in self.linears.items()}
        return (int(index), roles[rest]) if rest in roles else None

    def stored_name(self, tensor: str) -> str:
        """The name that a tensor of the model has in a file."""
        for name, stored in self.stored_names.items():
            if tensor.startswith(name):
                return stored + tensor.removeprefix(name)
        return tensor

    def num_layers(self, config: PretrainedConfig) -> int:
        """Blocks of the full model."""
        return int(getattr(config, self.depth))

    def num_kv_heads(self, config: PretrainedConfig) -> int:
        """Key-value heads: each serves a group of query heads (Ainslie et al. 2023, "GQA")."""
        return int(getattr(config, self.kv_heads or self.heads))

    def head_size(self, config: PretrainedConfig) -> int:
        """Channels of one attention head."""
        if self.has_own_head_size(config):
            return int(getattr(config, str(self.head_dim)))
        return int(getattr(config, self.hidden_size) // getattr(config, self.heads))

    def ffn_size(self, config: PretrainedConfig) -> int:
        """FFN neurons of a block."""
        if self.ffn_width is None:
            return 4 * int(getattr(config, self.hidden_size))
        return int(getattr(config, self.ffn_width))

    def has_own_head_size(self, config: PretrainedConfig) -> bool:
        """Whether the config itself says how many channels a head has."""
        return self.head_dim is not None and getattr(config, self.head_dim, None) is not None

    def head_channels(self, role: Role, config: PretrainedConfig) -> int:
        """Channels that one key-value head, with the query heads it serves, has in a layer."""
        group = int(getattr(config, self.heads)) // self.num_kv_heads(config)
        heads = {Role.KEY: 1, Role.VALUE: 1, Role.QKV: group + 2}.get(role, group)
        return heads * self.head_size(config)

    def longest(self, config: PretrainedConfig) -> int:
        """The longest sequence that the model has positions for.

        One that has none, but biases by distance (alibi), takes any.
        """
        found = int(getattr(config, "max_position_embeddings", None) or LONGEST)
        # From pad_token_id + 1 on: so many embeddings are never used.
        return found - int(config.pad_token_id) - 1 if self.positions_after_padding else found

    def position_ids(self, token_ids: torch.Tensor, config: PretrainedConfig) -> torch.Tensor:
        """The positions that the model itself would give ``token_ids``, both (rows, tokens)."""
        if not self.positions_after_padding:
            return torch.arange(token_ids.shape[1]).expand_as(token_ids)
        # A padding token, wherever it is, has the padding's position, and is not counted.
        padding = int(config.pad_token_id)
        counted = token_ids != padding
        return counted.cumsum(1) * counted + padding

    @property
    def takes_packs(self) -> bool:
        """Whether its blocks run on rows that lie end to end without padding."""
        return self.after_attention is not None or (self.is_causal and self.attends_by_interface)

    def can_share_a_sequence(self, config: PretrainedConfig, tokens: int) -> bool:
        """Whether a sequence of ``tokens`` may hold several continuations of one text.

        A mask of the caller's own has no window unless the caller puts one in, so that the whole
        sequence must lie within it.
        """
        window = getattr(config, self.sliding_window or "", None)
        return self.takes_full_masks and (window is None or tokens <= int(window))

    def called_with(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """What the model is called with for a batch's ``inputs`` (`Inputs`).

        A causal model makes its own mask (rows, 1, tokens, tokens) of the padding's
        (rows, tokens), unless it is given one, and keeps no cache of keys and values: each row is
        run once. The mask of rows that are trees is made here, of the ends of their subtrees:
        kept with the batches it would take the square of their tokens.
        """
        called = dict(inputs)
        if self.is_causal:
            called["use_cache"] = False
            if (ends := called.pop("subtree_ends", None)) is not None:
                called["attention_mask"] = _ancestors(ends)
            mask = called.get("attention_mask")
            if mask is not None and mask.shape[-2] == 1:
                called["attention_mask"] = mask.flatten(1)
        return called

    def classifier(self) -> TaskHead:
        """The head that gives classes or numbers.

        Raises:
            InputError: the family has none.
        """
        for head in self.task_heads:
            if head.kind is HeadKind.CLASSIFIER:
                return head
        raise InputError(
            "this model family is read without a classifier",
            field="base/config.json/model_type",
            value=self.model_type,
        )

    def head_of(self, tensors: Mapping[str, object], config: PretrainedConfig) -> TaskHead | None:
        """The head whose logits layer is among ``tensors``, or is tied to the embeddings."""
        for head in self.task_heads:
            is_tied = head.kind is HeadKind.CAUSAL_LM and config.tie_word_embeddings
            if is_tied or f"{head.logits}.weight" in tensors:
                return head
        return None


def _ancestors(ends: torch.Tensor) -> torch.Tensor:
    """The mask (rows, 1, tokens, tokens) in which each token sees its ancestors and itself.

    Token j is one of token i's if ``j <= i < ends[j]``; ``ends`` has shape (rows, tokens).
    """
    places = torch.arange(ends.shape[1], device=ends.device)
    is_before = places <= places[:, None]
    return (is_before & (places[:, None] < ends[:, None, :])).unsqueeze(1)
