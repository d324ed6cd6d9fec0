"""What every endpoint shares: problem documents, cursors, limits, dependencies."""
