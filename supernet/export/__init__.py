"""Writing a subnet as an ordinary checkpoint."""

from elasticnas.supernet.export.archive import export_subnet, require_packages, written_bytes

__all__ = ["export_subnet", "require_packages", "written_bytes"]
