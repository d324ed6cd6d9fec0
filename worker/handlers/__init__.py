"""What a worker does with each kind of message: a file registers its handler as it is imported."""

from elasticnas.worker.handlers import evaluate, export, inspect, verify

__all__ = ["evaluate", "export", "inspect", "verify"]
