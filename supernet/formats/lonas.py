"""An NNCF config JSON, as LoNAS publishes its search spaces.

``bootstrapNAS.training.elasticity.width.overwrite_groups`` lists groups of graph node names; the
layers of a group share one width, one of ``overwrite_groups_widths`` at the same index. Dimension i
of the space is group i. NNCF itself is not needed (it removed this feature in December 2025): what
a group cuts follows from the modules it names. ``docs/formats.md`` has the rules.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import json5

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import FFN, HEADS, RANK, Dimension
from elasticnas.search.space import SearchSpace
from elasticnas.supernet.checkpoint.json_file import read_object
from elasticnas.supernet.families.family import ATTENTION_ROLES, FFN_ROLES, Role
from elasticnas.supernet.formats.format import Format
from elasticnas.supernet.plan import (
    LORA_A,
    LORA_B,
    Cut,
    ElasticPart,
    ModelShape,
    Side,
    SlicingPlan,
)

NNCF_FILE = "nncf_config.json"

_NODE = re.compile(r"^\w+(?:/\w+\[\w+\])*/\w+?_\d+$")
_SCOPE = re.compile(r"\[(\w+)\]")
_ADAPTER_NODE = re.compile(r"^(?P<module>.+)\.(?P<part>lora_A|lora_B)\.\w+$")


@dataclass(frozen=True)
class Node:
    """A node of the traced graph: a linear module's own ``weight``, or one of its LoRA halves."""

    module: str
    part: str


def _read(folder: Path, shape: ModelShape) -> ElasticPart:
    """Read the search space of an NNCF config for a model of this shape.

    Comments and trailing commas are accepted, as NNCF does. Widths are sorted descending.

    Raises:
        InputError: a part of the config is missing or not read here, a node name is not in the
            model, a group does not make sense as one width, or a width does not fit its layers.
    """
    content = read_object(folder / NNCF_FILE, field=NNCF_FILE, parse=_lenient)
    width = _member(content, "bootstrapNAS", "training", "elasticity", "width")
    if not isinstance(width, dict):
        raise InputError("this must be an object", field=f"{NNCF_FILE}/width", value=width)
    groups, widths = _list(width, "overwrite_groups"), _list(width, "overwrite_groups_widths")
    if len(groups) != len(widths):
        raise InputError(
            "there must be one list of widths for each group",
            field=f"{NNCF_FILE}/overwrite_groups_widths",
            value=f"{len(widths)} lists for {len(groups)} groups",
        )
    available = _member(
        content, "bootstrapNAS", "training", "elasticity", "available_elasticity_dims"
    )
    if available != ["width"]:
        raise InputError(
            "only elastic width is read from an NNCF config",
            field=f"{NNCF_FILE}/available_elasticity_dims",
            value=available,
            remedy="describe the space in search_space.json instead",
        )
    model = _Model(shape)
    dynamic = _list(width, "add_dynamic_inputs") if width.get("add_dynamic_inputs") else []
    for index, name in enumerate(dynamic):
        model.node(name, field=f"{NNCF_FILE}/add_dynamic_inputs/{index}")
    dimensions: list[Dimension] = []
    cuts: list[Cut] = []
    for index, (names, choices) in enumerate(zip(groups, widths, strict=True)):
        field = f"{NNCF_FILE}/overwrite_groups/{index}"
        if not isinstance(names, list) or not names:
            raise InputError("a group must be a list of node names", field=field, value=names)
        nodes = {model.node(name, field=field) for name in names}
        dimension, group_cuts = model.group(index, nodes, choices)
        dimensions.append(dimension)
        cuts += group_cuts
    space = SearchSpace(tuple(dimensions))
    return ElasticPart(space, SlicingPlan(tuple(cuts)), _reference_length(content))


LONAS = Format("lonas", NNCF_FILE, _read)


@dataclass(frozen=True)
class _Model:
    """The model that node names refer to."""

    shape: ModelShape

    def node(self, name: object, *, field: str) -> Node:
        """The module and part that a node name means."""
        if not isinstance(name, str) or not _NODE.match(name):
            raise InputError("this is not an NNCF node name", field=field, value=name)
        path = ".".join(_SCOPE.findall(name)).removeprefix("base_model.model.")
        if (match := _ADAPTER_NODE.match(path)) is not None:
            node = Node(match["module"], match["part"])
            known = node.module in self.shape.adapted
        else:
            node = Node(path.removesuffix(".self_linear"), "weight")
            place = self.shape.family.role_of(node.module)
            known = place is not None and place[0] < self.shape.num_layers
        if not known:
            raise InputError(
                f"the checkpoint has no linear layer or adapter {path}",
                field=field,
                value=name,
                remedy="use the NNCF config that this super-network was trained with",
            )
        return node

    def group(self, index: int, nodes: set[Node], widths: object) -> tuple[Dimension, list[Cut]]:
        """The dimension and the cuts of one group."""
        field = f"{NNCF_FILE}/overwrite_groups/{index}"
        choices = _widths(widths, field=f"{NNCF_FILE}/overwrite_groups_widths/{index}")
        modules = {node.module for node in nodes}
        if nodes == {Node(module, LORA_A) for module in modules}:
            return self._rank(index, modules, choices)
        places = {self.shape.family.role_of(module) for module in modules}
        layers = {place[0] for place in places if place is not None}
        roles = {place[1] for place in places if place is not None}
        expected = {Node(module, "weight") for module in modules}
        expected |= {Node(module, LORA_B) for module in modules & self.shape.adapted}
        attention, ffn = (
            {role for role in wanted if role in self.shape.family.linears}
            for wanted in (ATTENTION_ROLES, FFN_ROLES)
        )
        if len(layers) != 1 or roles not in (attention, ffn):
            raise InputError(
                "a width group must hold the query, key and value of one layer, or its first FFN "
                "layer with its gate",
                field=field,
                value=", ".join(sorted(modules)),
            )
        if nodes != expected:
            raise InputError(
                "the group leaves out, or adds, a member whose width must agree with the others",
                field=field,
                value=", ".join(f"{n.module}.{n.part}" for n in _sorted(nodes ^ expected)),
            )
        layer = layers.pop()
        if roles == ffn:
            name = f"layer.{layer}.ffn.width"
            dimension = Dimension(name=name, part=FFN, layer=layer, choices=choices)
            return dimension, self.shape.ffn_cuts(name, layer)
        head = self.shape.family.head_channels(Role.QUERY, self.shape.config)
        for width in choices:
            if width % head:
                raise InputError(
                    f"an attention width must be a multiple of the head size {head}",
                    field=f"{NNCF_FILE}/overwrite_groups_widths/{index}",
                    value=width,
                )
        name = f"layer.{layer}.attention.heads"
        heads = tuple(width // head for width in choices)
        return (
            Dimension(name=name, part=HEADS, layer=layer, choices=heads),
            self.shape.head_cuts(name, layer),
        )

    def _rank(
        self, index: int, modules: set[str], choices: tuple[int, ...]
    ) -> tuple[Dimension, list[Cut]]:
        """A LoRA rank; named after its layer where the group is the whole layer's adapters."""
        ordered = sorted(modules)
        places = [self.shape.family.role_of(module) for module in ordered]
        layers = {place[0] for place in places if place is not None}
        name, layer = f"group.{index}.lora.rank", None
        if len(layers) == 1:
            layer = layers.pop()
            inside = set(self.shape.adapted_in(layer))
            roles = "+".join(place[1] for place in places if place is not None)
            whole = inside == modules
            name = f"layer.{layer}.lora.rank" if whole else f"layer.{layer}.{roles}.lora.rank"
        dimension = Dimension(name=name, part=RANK, layer=layer, choices=choices)
        cuts = [cut for m in ordered for cut in self.shape.cuts(name, m, Side.RANK)]
        return dimension, cuts


def _lenient(text: str) -> Any:
    """JSON, with comments and trailing commas if it has to be: json5 is slow."""
    try:
        return json.loads(text)
    except ValueError:
        return json5.loads(text)


def _list(section: dict[str, Any], key: str) -> list[Any]:
    found = section.get(key)
    if not isinstance(found, list):
        raise InputError("this must be a list", field=f"{NNCF_FILE}/{key}", value=found)
    return found


def _member(content: Any, *path: str) -> Any:
    for depth, key in enumerate(path):
        if not isinstance(content, dict) or key not in content:
            raise InputError(
                "the config has no such section", field="/".join((NNCF_FILE, *path[: depth + 1]))
            )
        content = content[key]
    return content


def _widths(widths: object, *, field: str) -> tuple[int, ...]:
    """Widths as NNCF reads them: sorted descending, whatever the order in the file."""
    if (
        not isinstance(widths, list)
        or not widths
        or not all(isinstance(w, int) and not isinstance(w, bool) and w > 0 for w in widths)
        or len(set(widths)) != len(widths)
    ):
        raise InputError(
            "the widths of a group must be different positive integers", field=field, value=widths
        )
    return tuple(sorted(widths, reverse=True))


def _reference_length(content: Any) -> int | None:
    """The sequence length that NNCF traces, and so prices, the model at."""
    info = content.get("input_info")
    first = info[0] if isinstance(info, list) and info else info
    size = first.get("sample_size") if isinstance(first, dict) else None
    if isinstance(size, list) and len(size) == 2 and isinstance(size[1], int) and size[1] > 0:
        return int(size[1])
    return None


def _sorted(nodes: set[Node]) -> list[Node]:
    return sorted(nodes, key=lambda node: (node.module, node.part))
