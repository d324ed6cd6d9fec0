"""Writing a subnet as an ordinary checkpoint."""

from elasticnas.supernet.export.archive import export_subnet

__all__ = ["export_subnet"]
