"""What the dimensions of a heterogeneous super-network cut, and which modules they choose.

Of a layer: its operation; the kernel of its convolution; its heads; its hidden size, or one for
the whole model; the neurons of its feed-forward layers, and how many of these there are. Of the
model: how many of its first layers are kept. A cut keeps a prefix, as everywhere; where two
neighbours have different hidden sizes, a projection joins them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import (
    BLOCKS,
    FFN,
    FFN_LAYERS,
    HEADS,
    HIDDEN,
    KERNEL,
    OPERATION,
    Condition,
    Dimension,
)
from elasticnas.search.space import SearchSpace
from elasticnas.supernet.operations.config import FURTHER
from elasticnas.supernet.plan import Cut, ModelShape, ModulePresence, SlicingPlan

_FIELD = "search_space.json/dimensions"

Ways = tuple[tuple[Condition, ...], ...]
ALWAYS: Ways = ((),)


def heterogeneous_plan(space: SearchSpace, shape: ModelShape) -> SlicingPlan:
    """The plan of a space over a model whose layers have several operations, without presences.

    Raises:
        InputError: a dimension that such a model does not have, or whose choices do not fit it.
    """
    return _Layout(space, shape).plan()


class _Layout:
    """The dimensions of a space by part and layer, over a model."""

    def __init__(self, space: SearchSpace, shape: ModelShape) -> None:
        self._shape = shape
        self._layers = shape.config.layers
        self._found: dict[tuple[str, int | None], Dimension] = {}
        self._blocks: list[Dimension] = []
        for dimension in space.dimensions:
            self._place(dimension)

    def plan(self) -> SlicingPlan:
        """All cuts and presences."""
        layers = range(len(self._layers))
        cuts = [cut for layer in layers for cut in self._cuts_of(layer)]
        modules = [each for layer in layers for each in self._modules_of(layer)]
        return SlicingPlan((*cuts, *self._ends()), modules=tuple(modules))

    def _place(self, dimension: Dimension) -> None:
        part, layer = dimension.part, dimension.layer
        field = f"{_FIELD}/{dimension.name}"
        of_layer = part in (OPERATION, KERNEL, HEADS, HIDDEN, FFN, FFN_LAYERS)
        if not of_layer and part != BLOCKS:
            raise InputError(
                "a model whose layers differ has no such part",
                field=f"{field}/part",
                value=part,
                remedy=f"choose {OPERATION}, {KERNEL}, {HEADS}, {HIDDEN}, {FFN}, {FFN_LAYERS} or "
                f"{BLOCKS}",
            )
        if part == BLOCKS:
            self._blocks.append(dimension)
            return
        if layer is None and part != HIDDEN:
            raise InputError(
                f"a dimension of part {part} belongs to a layer", field=f"{field}/layer"
            )
        if layer is not None and layer >= len(self._layers):
            raise InputError(f"the model has {len(self._layers)} layers", field=field, value=layer)
        if (part, layer) in self._found or (part == HIDDEN and self._mixes_hidden(layer)):
            raise InputError("another dimension chooses the same", field=field, value=part)
        self._check_choices(dimension, field)
        self._found[part, layer] = dimension

    def _mixes_hidden(self, layer: int | None) -> bool:
        """Whether one hidden size for the model would stand beside one of a layer."""
        placed = [where for part, where in self._found if part == HIDDEN]
        return any((where is None) is not (layer is None) for where in placed)

    def _check_choices(self, dimension: Dimension, field: str) -> None:
        part, layer = dimension.part, dimension.layer
        choices = dimension.choices
        if part == OPERATION:
            assert layer is not None
            known = self._layers[layer]["operations"]
            if odd := [choice for choice in choices if choice not in known]:
                raise InputError(
                    "the layer has no weights of this operation",
                    field=f"{field}/choices",
                    value=odd[0],
                    remedy=f"choose among {', '.join(known)}",
                )
        elif part == FFN_LAYERS:
            assert layer is not None
            most = 1 + len(self._further(layer))
            if choices[0] != 1 or any(choice not in range(1, most + 1) for choice in choices):
                raise InputError(
                    "the layer has weights of so many feed-forward layers before the last: "
                    f"{most}; the first choice is 1, the maximal subnet's",
                    field=f"{field}/choices",
                    value=list(choices),
                )
        elif dimension.amounts is None:
            raise InputError(
                "choices must be whole numbers that descend",
                field=f"{field}/choices",
                value=list(choices),
            )
        elif part == KERNEL and any(choice % 2 == 0 for choice in dimension.amounts):
            raise InputError("kernels are odd", field=f"{field}/choices", value=list(choices))

    def _hidden(self, layer: int) -> Dimension | None:
        return self._found.get((HIDDEN, layer)) or self._found.get((HIDDEN, None))

    def _name(self, layer: int, module: str) -> str:
        return f"{self._shape.family.layers}.{layer}.{module}"

    def _cuts(
        self,
        dimension: Dimension | None,
        modules: Mapping[str, tuple[int, ...]],
        layer: int,
        unit: int = 1,
    ) -> Iterator[Cut]:
        """Cuts of the ``axis`` of each module's weight, and of its bias with the rows."""
        for module, axes in modules.items():
            for axis in axes:
                yield from self._cut(dimension, self._name(layer, module), axis, unit=unit)

    def _cut(
        self,
        dimension: Dimension | None,
        module: str,
        axis: int,
        *,
        unit: int = 1,
        when: tuple[Condition, ...] = (),
    ) -> Iterator[Cut]:
        if dimension is None:
            return
        shapes, bias = self._shape.shapes, f"{module}.bias"
        if f"{module}.weight" not in shapes:
            return
        yield Cut(f"{module}.weight", axis, dimension.name, unit, when)
        if bias in shapes and axis < len(shapes[bias]):
            yield Cut(bias, axis, dimension.name, unit, when)

    def _cuts_of(self, layer: int) -> Iterator[Cut]:
        heads, kernel, ffn = (self._found.get((part, layer)) for part in (HEADS, KERNEL, FFN))
        size = self._layers[layer]["head_size"]
        conv = "operations.conv"
        yield from self._cuts(self._hidden(layer), _HIDDEN, layer)
        if layer:
            yield from self._cuts(self._hidden(layer), {"join": (0,)}, layer)
            yield from self._cuts(self._hidden(layer - 1), {"join": (1,)}, layer)
        yield from self._cuts(heads, _CHANNELS, layer, unit=size)
        yield from self._cuts(heads, {f"{conv}.generator": (0,)}, layer)
        taps = {f"{conv}.depthwise": (1,), f"{conv}.generator": (1,)}
        yield from self._cuts(kernel, taps, layer)
        yield from self._cuts(ffn, {"intermediate.dense": (0,), "output.dense": (1,)}, layer)
        for name, full in self._further(layer).items():
            widths = () if ffn is None else ffn.amounts or ()
            if fitting := tuple(width for width in widths if width <= full):
                assert ffn is not None
                when = (Condition(dimension=ffn.name, choices=fitting),)
                for axis in (0, 1):
                    yield from self._cut(ffn, self._name(layer, f"{name}.dense"), axis, when=when)

    def _further(self, layer: int) -> dict[str, int]:
        """The feed-forward layers between the first and the last, and their neurons."""
        spec = self._layers[layer]
        return {name: spec[name] for name in FURTHER if spec[name]}

    def _ends(self) -> Iterator[Cut]:
        """The embeddings are as wide as the first layer, the head as the last that is kept."""
        model = self._shape.family.model
        embeddings = f"{self._shape.family.embeddings}"
        for table in ("word", "position", "token_type"):
            yield from self._cut(self._hidden(0), f"{embeddings}.{table}_embeddings", 1)
        yield from self._cut(self._hidden(0), f"{embeddings}.LayerNorm", 0)
        for layer, when in self._lasts():
            for module, axes in ((f"{model}.pooler.dense", (0, 1)), ("classifier", (1,))):
                for axis in axes:
                    yield from self._cut(self._hidden(layer), module, axis, when=when)

    def _lasts(self) -> Iterator[tuple[int, tuple[Condition, ...]]]:
        """Which layer is the last, and under which condition."""
        of_layers = any(part == HIDDEN and layer is not None for part, layer in self._found)
        if not self._blocks or not of_layers:
            yield len(self._layers) - 1, ()
            return
        depth, *others = self._blocks
        if others or depth.amounts is None:
            raise InputError(
                "layers with hidden sizes of their own are left out from the end only",
                field=f"{_FIELD}/{(others or [depth])[0].name}",
                remedy="have one dimension of blocks that says how many of the first are kept, or "
                "one hidden size for the model",
            )
        for kept in depth.amounts:
            yield kept - 1, (Condition(dimension=depth.name, choices=(kept,)),)

    def _modules_of(self, layer: int) -> Iterator[ModulePresence]:
        spec = self._layers[layer]
        operation = self._found.get((OPERATION, layer))
        held = spec["operations"]
        if operation is None and len(held) > 1:
            raise InputError(
                "the layer has weights of several operations, and no dimension chooses one",
                field=_FIELD,
                value=f"layer {layer}: {', '.join(held)}",
                remedy=f"add a dimension of part {OPERATION} for this layer",
            )
        if operation is not None:
            yield from self._operations_of(layer, operation)
        for place, name in enumerate(self._further(layer), 2):
            yield self._present(layer, name, self._as_deep(layer, place))
        if spec["reads"] is not None:
            yield self._present(layer, "join", self._differing(layer))

    def _operations_of(self, layer: int, operation: Dimension) -> Iterator[ModulePresence]:
        known = self._shape.family.operations
        for name in self._layers[layer]["operations"]:
            yield self._present(layer, f"operations.{name}", _chosen(operation, (name,)))
        projecting = tuple(c for c in operation.choices if known[str(c)].projects)
        if len(projecting) < len(operation.choices):
            for module in ("attention.self", "attention.output.dense"):
                yield self._present(layer, module, _chosen(operation, projecting))

    def _present(self, layer: int, module: str, ways: Ways) -> ModulePresence:
        return ModulePresence(self._name(layer, module), ways)

    def _as_deep(self, layer: int, place: int) -> Ways:
        """Under which conditions there are so many feed-forward layers before the last, or more."""
        stack = self._found.get((FFN_LAYERS, layer))
        return () if stack is None else _chosen(stack, tuple(range(place, 2 + len(FURTHER))))

    def _differing(self, layer: int) -> Ways:
        """Under which conditions a layer is not as wide as the one before it."""
        before, own = self._hidden(layer - 1), self._hidden(layer)
        if before is None or own is None or before == own:
            widths = [
                self._layers[place]["hidden"] if dimension is None else dimension.choices[0]
                for place, dimension in ((layer - 1, before), (layer, own))
            ]
            if before == own:
                return () if widths[0] == widths[1] else ALWAYS
            one, fixed = (own, widths[0]) if before is None else (before, widths[1])
            assert one is not None
            return _chosen(one, tuple(c for c in one.choices if c != fixed))
        ways = []
        for width in own.choices:
            others = tuple(choice for choice in before.choices if choice != width)
            if others:
                ways.append((*_chosen(own, (width,))[0], *_chosen(before, others)[0]))
        return tuple(ways)


_HIDDEN: dict[str, tuple[int, ...]] = {
    "attention.self.query": (1,),
    "attention.self.key": (1,),
    "attention.self.value": (1,),
    "attention.output.dense": (0,),
    "attention.output.LayerNorm": (0,),
    "intermediate.dense": (1,),
    "output.dense": (0,),
    "output.LayerNorm": (0,),
    "operations.conv.depthwise": (0,),
    "operations.dft.dense": (0, 1),
    "operations.dct.dense": (0, 1),
}
"""The axes of a layer's weights that are channels of the residual stream."""

_CHANNELS: dict[str, tuple[int, ...]] = {
    "attention.self.query": (0,),
    "attention.self.key": (0,),
    "attention.self.value": (0,),
    "attention.output.dense": (1,),
}
"""Those that are channels of attention heads."""


def _chosen(dimension: Dimension, choices: tuple[object, ...]) -> Ways:
    """The single way: a dimension takes one of these choices; none where there are none."""
    found = tuple(choice for choice in dimension.choices if choice in choices)
    return ((Condition(dimension=dimension.name, choices=found),),) if found else ()
