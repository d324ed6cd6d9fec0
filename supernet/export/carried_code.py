"""The code of heterogeneous layers as one file that needs torch and transformers, nothing else."""

from __future__ import annotations

import ast
import inspect
import re
from types import ModuleType

from elasticnas.supernet import operations
from elasticnas.supernet.operations import (
    config,
    cosine,
    dynamic_convolution,
    fourier,
    model,
    operation,
    scaled_dot_product,
    spectra,
    weighted_multiplicative,
)

FILE = "modeling_flexibert.py"

_MODULES = (
    operation,
    scaled_dot_product,
    weighted_multiplicative,
    dynamic_convolution,
    spectra,
    fourier,
    cosine,
    operations,
    config,
    model,
)
"""In the order in which each needs those before it."""

_OWN = "elasticnas."
_FOR_CHECKERS = re.compile(r"  # type: ignore\[[^\]]*\]")


def heterogeneous_code() -> str:
    """The text of `FILE`: these modules, one behind the other."""
    imports: dict[str, None] = {}
    bodies = []
    for module in _MODULES:
        bodies.append(_body(module, imports))
    header = (
        f'"""{inspect.getdoc(model)}\n\n'
        "Written by ElasticNAS into the folder of an exported subnet, beside its weights.\n"
        '"""\n\nfrom __future__ import annotations\n'
    )
    return "\n".join((header, *imports, "", "", *bodies))


def _body(module: ModuleType, imports: dict[str, None]) -> str:
    """A module without its docstring and imports; those of other packages go into ``imports``."""
    source = _FOR_CHECKERS.sub("", inspect.getsource(module))
    lines = source.splitlines()
    for number, node in enumerate(ast.parse(source).body):
        is_docstring = number == 0 and isinstance(node, ast.Expr)
        is_import = isinstance(node, ast.Import | ast.ImportFrom)
        if not is_docstring and not is_import:
            continue
        name = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        if is_import and not name.startswith((_OWN, "__future__")):
            imports[ast.unparse(node)] = None
        for place in range(node.lineno - 1, node.end_lineno or node.lineno):
            lines[place] = ""
    return "\n".join(lines).strip("\n") + "\n\n"
