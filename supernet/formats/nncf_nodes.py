"""Names of nodes in a graph that NNCF traced."""

from __future__ import annotations

import re

from elasticnas.api_schemas.problems import InputError

_NODE = re.compile(r"^\w+(?:/\w+\[\w+\])*/\w+?_\d+$")
_SCOPE = re.compile(r"\[(\w+)\]")


def module_of(name: object, *, field: str) -> str:
    """The path of the module that a node is in, without PEFT's prefix.

    Raises:
        InputError: this is no name of a node.
    """
    if not isinstance(name, str) or not _NODE.match(name):
        raise InputError("this is not an NNCF node name", field=field, value=name)
    return ".".join(_SCOPE.findall(name)).removeprefix("base_model.model.")
