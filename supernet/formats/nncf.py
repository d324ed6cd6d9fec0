"""An NNCF config JSON: groups of nodes of a traced model, whose layers share one width each.

``training.elasticity.width.overwrite_groups`` lists groups of graph node names; the layers of a
group share one width, one of ``overwrite_groups_widths`` at the same index. Dimension i of the
space is group i. LoNAS, EFTNAS, Shears and the first versions of SQFT write such files. NNCF itself
is not needed (it removed this feature in December 2025): what a group cuts follows from the modules
it names. ``docs/formats.md`` has the rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import json5

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import FFN, HEADS, Dimension, Presence
from elasticnas.search.space import SearchSpace
from elasticnas.supernet.checkpoint.json_file import read_object
from elasticnas.supernet.families.family import ATTENTION_ROLES, FFN_ROLES, Role
from elasticnas.supernet.formats.nncf_depth import skipped_blocks
from elasticnas.supernet.formats.nncf_nodes import module_of
from elasticnas.supernet.formats.rank_groups import descending, rank_group
from elasticnas.supernet.plan import (
    LORA_A,
    LORA_B,
    Cut,
    ElasticPart,
    ModelShape,
    SlicingPlan,
)

NNCF_FILE = "nncf_config.json"
NNCF_FILES = (NNCF_FILE, f"adapter/{NNCF_FILE}")
"""Where it lies in a checkpoint: at the top, or where training wrote it beside the adapter."""

BOOTSTRAP_NAS = "bootstrapNAS"
SQFT_SECTION = "SQFT"
"""The sections that hold a space: NNCF's own, and that of SQFT's patch of it."""

_ADAPTER_NODE = re.compile(r"^(?P<module>.+)\.(?P<part>lora_A|lora_B)\.\w+$")
_TEMPLATE, _ANY_LAYER = "{re}", "{*}"


@dataclass(frozen=True)
class NncfConfig:
    """The content of an NNCF config; ``field`` is how errors call the file."""

    content: dict[str, Any]
    field: str

    @property
    def section(self) -> str:
        """The section with the space: SQFT's if there is one, else NNCF's."""
        return SQFT_SECTION if SQFT_SECTION in self.content else BOOTSTRAP_NAS

    @property
    def cuts_ranks_alone(self) -> bool:
        """Whether every group holds nothing but LoRA's first halves."""
        names = self._names()
        return bool(names) and all(isinstance(n, str) and f"[{LORA_A}]" in n for n in names)

    @property
    def names_adapters(self) -> bool:
        """Whether a group holds a half of a LoRA adapter."""
        halves = (f"[{LORA_A}]", f"[{LORA_B}]")
        return any(isinstance(n, str) and any(h in n for h in halves) for n in self._names())

    def _names(self) -> list[Any]:
        """What all groups hold: names of nodes, in a file that is as it should be."""
        try:
            groups = self.width_section()["overwrite_groups"]
        except (InputError, KeyError):
            return []
        return [name for group in _lists(groups) for name in group]

    def indicator(self, dimension: str, unsaid: int = -1) -> int | None:
        """The largest ``<dimension>_indicator`` of the stages that train ``dimension``.

        Of widths it says how many of the largest of each group training ever ran. A stage that has
        none counts as ``unsaid``. None where a stage says -1 or 0, which limits nothing.

        Raises:
            InputError: a stage says something else.
        """
        key = f"{dimension}_indicator"
        found = []
        for index, stage in enumerate(self._stages()):
            if isinstance(dims := stage.get("train_dims"), list) and dimension not in dims:
                continue
            said = stage.get(key, unsaid)
            if type(said) is not int:
                raise InputError(
                    "this must be a whole number",
                    field=f"{self.field}/list_stage_descriptions/{index}/{key}",
                    value=said,
                )
            found.append(said)
        return max(found) if found and min(found) > 0 else None

    def _stages(self) -> list[dict[str, Any]]:
        """The stages of training, none where the file has no schedule."""
        try:
            path = (self.section, "training", "schedule", "list_stage_descriptions")
            stages = self.member(*path)
        except InputError:
            return []
        return [each for each in _entries(stages) if isinstance(each, dict)]

    def width_section(self) -> dict[str, Any]:
        """The part that says which widths are elastic.

        Raises:
            InputError: there is none.
        """
        width = self.member(self.section, "training", "elasticity", "width")
        if not isinstance(width, dict):
            raise InputError("this must be an object", field=f"{self.field}/width", value=width)
        return width

    def member(self, *path: str) -> Any:
        """What stands at a path of keys.

        Raises:
            InputError: there is nothing.
        """
        content: Any = self.content
        for depth, key in enumerate(path):
            if not isinstance(content, dict) or key not in content:
                raise InputError(
                    "the config has no such section",
                    field="/".join((self.field, *path[: depth + 1])),
                )
            content = content[key]
        return content


@dataclass(frozen=True)
class Node:
    """A node of the traced graph: a linear module's own ``weight``, or one of its LoRA halves."""

    module: str
    part: str


@dataclass(frozen=True)
class _Group:
    """Nodes that share a width; ``place`` is the number of the group in the file."""

    place: int
    names: tuple[object, ...]
    widths: object


def nncf_config(folder: Path, file: str) -> NncfConfig:
    """The NNCF config ``file`` of a checkpoint's folder.

    Comments and trailing commas are accepted, as NNCF does.

    Raises:
        InputError: the file is missing, or no such JSON object.
    """
    return NncfConfig(read_object(folder / file, field=file, parse=_lenient), file)


def read_nncf(folder: Path, shape: ModelShape) -> ElasticPart:
    """Read the search space of an NNCF config for a model of this shape.

    Widths are sorted descending, as NNCF does, and those that training never ran are left out: see
    `NncfConfig.indicator`. A template, as Shears writes it, stands for a group
    in each layer: see `_groups`.

    Raises:
        InputError: a part of the config is missing or not read here, a node name is not in the
            model, a group does not make sense as one width, or a width does not fit its layers.
    """
    file = next((each for each in NNCF_FILES if (folder / each).is_file()), NNCF_FILE)
    config = nncf_config(folder, file)
    width = config.width_section()
    available = config.member(config.section, "training", "elasticity", "available_elasticity_dims")
    if available not in (["width"], ["width", "depth"]):
        raise InputError(
            "only elastic width, or width and depth, is read from an NNCF config",
            field=f"{file}/available_elasticity_dims",
            value=available,
            remedy="describe the space in search_space.json instead",
        )
    model = _Model(shape, file, config.indicator("width"))
    dynamic = _list(width, "add_dynamic_inputs", file) if width.get("add_dynamic_inputs") else []
    for index, name in enumerate(dynamic):
        model.node(name, field=f"{file}/add_dynamic_inputs/{index}")
    dimensions: list[Dimension] = []
    cuts: list[Cut] = []
    for index, group in enumerate(_groups(width, shape.num_layers, file)):
        dimension, group_cuts = model.group(index, group)
        dimensions.append(dimension)
        cuts += group_cuts
    presences: tuple[Presence, ...] = ()
    if "depth" in available:
        told = config.member(config.section, "training", "elasticity", "depth")
        indicator = config.indicator("depth", unsaid=1)
        depth, presences = skipped_blocks(told, indicator, shape, field=file)
        dimensions.append(depth)
    space = SearchSpace(tuple(dimensions))
    plan = SlicingPlan(tuple(cuts), presences)
    return ElasticPart(space, plan, _reference_length(config.content))


def _groups(width: dict[str, Any], layers: int, file: str) -> Iterator[_Group]:
    """The groups of the file, in order, each template in as many as there are layers.

    A template's names begin with ``{re}`` and have ``{*}`` where a layer's number belongs. Shears
    counts all groups of the first template before those of the second.
    """
    groups = _list(width, "overwrite_groups", file)
    widths = _list(width, "overwrite_groups_widths", file)
    if len(groups) != len(widths):
        raise InputError(
            "there must be one list of widths for each group",
            field=f"{file}/overwrite_groups_widths",
            value=f"{len(widths)} lists for {len(groups)} groups",
        )
    if not groups:
        raise InputError("there is no group", field=f"{file}/overwrite_groups")
    for place, (names, choices) in enumerate(zip(groups, widths, strict=True)):
        field = f"{file}/overwrite_groups/{place}"
        if not isinstance(names, list) or not names:
            raise InputError("a group must be a list of node names", field=field, value=names)
        if not any(isinstance(name, str) and name.startswith(_TEMPLATE) for name in names):
            yield _Group(place, tuple(names), choices)
            continue
        for layer in range(layers):
            expanded = tuple(_expanded(name, layer, field=field) for name in names)
            yield _Group(place, expanded, choices)


def _expanded(name: object, layer: int, *, field: str) -> str:
    """A name of a template, for one layer."""
    if not isinstance(name, str) or not name.startswith(_TEMPLATE) or _ANY_LAYER not in name:
        raise InputError(
            f"every name of a template must begin with {_TEMPLATE} and have {_ANY_LAYER} where "
            "the layer's number belongs",
            field=field,
            value=name,
        )
    return name.removeprefix(_TEMPLATE).replace(_ANY_LAYER, str(layer))


@dataclass(frozen=True)
class _Model:
    """The model that node names refer to; ``file`` is how errors call the config.

    Of the widths of a group, the ``trained`` largest are choices.
    """

    shape: ModelShape
    file: str
    trained: int | None

    def node(self, name: object, *, field: str) -> Node:
        """The module and part that a node name means."""
        path = module_of(name, field=field)
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

    def group(self, index: int, group: _Group) -> tuple[Dimension, list[Cut]]:
        """The dimension ``index`` and the cuts of one group."""
        field = f"{self.file}/overwrite_groups/{group.place}"
        widths_field = f"{self.file}/overwrite_groups_widths/{group.place}"
        nodes = dict.fromkeys(self.node(name, field=field) for name in group.names)
        choices = descending(group.widths, field=widths_field)[: self.trained]
        modules = tuple(dict.fromkeys(node.module for node in nodes))
        if set(nodes) == {Node(module, LORA_A) for module in modules}:
            return rank_group(self.shape, index, modules, choices, field=widths_field)
        layer, roles = self._place(modules, field=field)
        self._check_members(set(nodes), set(modules), field=field)
        if roles <= set(FFN_ROLES):
            name = f"layer.{layer}.ffn.width"
            dimension = Dimension(name=name, part=FFN, layer=layer, choices=choices)
            return dimension, self.shape.ffn_cuts(name, layer)
        name = f"layer.{layer}.attention.heads"
        heads = self._heads(modules, choices, field=widths_field)
        dimension = Dimension(name=name, part=HEADS, layer=layer, choices=heads)
        return dimension, self.shape.head_cuts(name, layer)

    def _place(self, modules: Sequence[str], *, field: str) -> tuple[int, set[Role]]:
        """The layer and the roles of a group of base weights."""
        places = [place for m in modules if (place := self.shape.family.role_of(m)) is not None]
        layers, roles = {place[0] for place in places}, {place[1] for place in places}
        wholes = [
            {role for role in wanted if role in self.shape.family.linears}
            for wanted in (ATTENTION_ROLES, FFN_ROLES)
        ]
        if len(layers) != 1 or roles not in wholes:
            raise InputError(
                "a width group must hold the query, key and value of one layer, or its first FFN "
                "layer with its gate",
                field=field,
                value=", ".join(sorted(modules)),
            )
        return layers.pop(), roles

    def _check_members(self, nodes: set[Node], modules: set[str], *, field: str) -> None:
        """All outputs that must agree are in the group: base weights and their second halves."""
        expected = {Node(module, "weight") for module in modules}
        expected |= {Node(module, LORA_B) for module in modules & self.shape.adapted}
        if odd := sorted(nodes ^ expected, key=lambda node: (node.module, node.part)):
            raise InputError(
                "the group leaves out, or adds, a member whose width must agree with the others",
                field=field,
                value=", ".join(f"{node.module}.{node.part}" for node in odd),
            )

    def _heads(
        self, modules: Sequence[str], widths: tuple[int, ...], *, field: str
    ) -> tuple[int, ...]:
        """Widths of attention in heads."""
        channels = {self.shape.head_channels(module) for module in modules}
        if len(channels) > 1:
            raise InputError(
                "query heads share key-value heads here, so query, key and value cannot have one "
                "width",
                field=field,
                value=list(widths),
                remedy="describe the space in search_space.json instead",
            )
        head = channels.pop()
        for width in widths:
            if width % head:
                raise InputError(
                    f"an attention width must be a multiple of the head size {head}",
                    field=field,
                    value=width,
                )
        return tuple(width // head for width in widths)


@lru_cache(maxsize=1)
def _lenient(text: str) -> Any:
    """JSON, with comments and trailing commas if it has to be: json5 is slow.

    The last text's content is kept: a file is read once to recognise it and once for its space.
    """
    try:
        return json.loads(text)
    except ValueError:
        return json5.loads(text)


def _lists(value: object) -> list[list[Any]]:
    return [each for each in _entries(value) if isinstance(each, list)]


def _entries(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _list(section: dict[str, Any], key: str, file: str) -> list[Any]:
    found = section.get(key)
    if not isinstance(found, list):
        raise InputError("this must be a list", field=f"{file}/{key}", value=found)
    return found


def _reference_length(content: Any) -> int | None:
    """The sequence length that NNCF traces, and so prices, the model at."""
    info = content.get("input_info")
    first = info[0] if isinstance(info, list) and info else info
    size = first.get("sample_size") if isinstance(first, dict) else None
    if isinstance(size, list) and len(size) == 2 and isinstance(size[1], int) and size[1] > 0:
        return int(size[1])
    return None
