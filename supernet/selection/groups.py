"""Groups of adapters that share a gate: those that one dimension of a search space cuts."""

from __future__ import annotations

from dataclasses import dataclass

from elasticnas.supernet.supernet import Supernet


@dataclass(frozen=True)
class Group:
    """The adapters of these linear ``modules``; ``dimension`` is their rank's, and names them."""

    dimension: str
    modules: tuple[str, ...]

    @property
    def name(self) -> str:
        """What it is called where no rank is meant: ``layer.3``."""
        return self.dimension.removesuffix(".lora.rank")


def groups_of(supernet: Supernet) -> tuple[Group, ...]:
    """A group for each dimension of a super-network whose dimensions are all ranks, in order."""
    return tuple(
        Group(dimension.name, _modules(supernet, dimension.name))
        for dimension in supernet.space.dimensions
    )


def _modules(supernet: Supernet, dimension: str) -> tuple[str, ...]:
    cut = (each for each in supernet.plan.cuts if each.dimension == dimension)
    return tuple(dict.fromkeys(each.tensor.rpartition(".")[0] for each in cut))
