"""FlexiBERT's own ways to write an architecture down, from and to the layers of a config.

Its ``modelDict`` (jha-lab/txf_design-space, ``embeddings/utils/graph_util.py``) has the number of
layers ``l`` and, for each, the operation ``o`` (``sa``, ``l``, ``c``) with its parameter ``p``
(``sdp``, ``wma``, ``dft``, ``dct``, a kernel), hidden size ``h``, heads ``n`` and the list of the
feed-forward layers' neurons ``f``. Its config files say the same by lists with longer names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.operations import OPERATIONS

LISTS = {
    "o": "attention_type",
    "h": "hidden_dim_list",
    "n": "attention_heads_list",
    "f": "ff_dim_list",
    "p": "similarity_list",
}
"""The keys of a ``modelDict``, and what FlexiBERT's config calls them."""


def model_dict(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The ``modelDict`` of a model, of whose layers each has one operation."""
    written = [_written(layer) for layer in layers]
    return {"l": len(layers), **{key: [each[key] for each in written] for key in LISTS}}


def flexibert_lists(layers: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The same as FlexiBERT's config files say it."""
    told = model_dict(layers)
    return {name: told[key] for key, name in LISTS.items()}


def _written(layer: Mapping[str, Any]) -> dict[str, Any]:
    (name,) = layer["operations"]
    operation = OPERATIONS[name]
    stack = [layer["ffn"], *([layer["middle"]] if layer["middle"] else [])]
    return {
        "o": operation.kind,
        "p": layer["kernel"] if operation.has_kernel else name,
        "h": layer["hidden"],
        "n": layer["heads"],
        "f": stack,
    }


def layers_of(told: Mapping[str, Any], *, field: str = "modelDict") -> list[dict[str, Any]]:
    """What the layers of a ``modelDict`` are made of.

    A head has the hidden size divided by the heads. Longer names of a config are read as well.

    Raises:
        InputError: a list is missing or has another length than ``l``, or a layer says something
            that no layer can be: three feed-forward layers before the last, two of different
            widths, an operation that is not known, heads that do not divide the hidden size.
    """
    lists = {key: told.get(key, told.get(name)) for key, name in LISTS.items()}
    count = told.get("l", told.get("num_hidden_layers"))
    if type(count) is not int or count < 1:
        raise InputError("this is no number of layers", field=f"{field}/l", value=count)
    for key, each in lists.items():
        if not isinstance(each, Sequence) or isinstance(each, str) or len(each) != count:
            raise InputError(
                f"this must be a list with an entry for each of the {count} layers",
                field=f"{field}/{key}",
                value=each,
            )
    found: list[dict[str, Any]] = []
    for place in range(count):
        entries: dict[str, Any] = {key: lists[key][place] for key in LISTS}
        layer = _read(entries, field=field, place=place)
        before = found[-1]["hidden"] if found else layer["hidden"]
        layer["reads"] = None if before == layer["hidden"] else before
        found.append(layer)
    return found


def _read(entries: Mapping[str, Any], *, field: str, place: int) -> dict[str, Any]:
    def refuse(key: str, message: str, remedy: str | None = None) -> InputError:
        where = f"{field}/{key}/{place}"
        return InputError(message, field=where, value=entries[key], remedy=remedy)

    for key in ("h", "n"):
        if type(entries[key]) is not int or entries[key] < 1:
            raise refuse(key, "this must be a number above 0")
    hidden, heads, stack = entries["h"], entries["n"], entries["f"]
    if hidden % heads:
        raise refuse("n", f"so many heads do not divide the hidden size {hidden}")
    if not isinstance(stack, Sequence) or not all(type(width) is int for width in stack):
        raise refuse("f", "this must be a list of numbers of neurons")
    if len(stack) not in (1, 2) or len(set(stack)) > 1:
        raise refuse(
            "f",
            "layers have one feed-forward layer before the last, or two of one width",
            "take stacks of one or two",
        )
    name: Any = entries["p"]
    kernel: int = 9
    if entries["o"] == "c":
        if type(name) is not int or name < 1 or name % 2 == 0:
            raise refuse("p", "a convolution's parameter is its kernel, an odd number")
        name, kernel = "conv", name
    operation = OPERATIONS.get(name)
    if operation is None or operation.kind != entries["o"]:
        known = ", ".join(f"{o.kind} {n}" for n, o in OPERATIONS.items() if not o.has_kernel)
        raise refuse("p", f"{entries['o']!r} has no such operation", f"choose {known} or c 9")
    return {
        "operations": [name],
        "hidden": hidden,
        "heads": heads,
        "head_size": hidden // heads,
        "kernel": kernel,
        "ffn": stack[0],
        "middle": stack[1] if len(stack) == 2 else 0,
    }
